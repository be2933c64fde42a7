"""The command `gossipllm data show`: what is read of a text, and examples as the model sees them."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

import click
from rich.console import Console
from rich.text import Text

from gossipllm.config import EMBEDDED, DataConfig, LearnerConfig, TrainingConfig
from gossipllm.config.text import Loss
from gossipllm.config.toml import from_mapping, toml_values
from gossipllm.text.showing import Run, runs_of, spread
from gossipllm.text.windows import Splits, load_splits

_EXAMPLES: Final = 3
_ANY_LENGTH: Final = 2**31
"""The context length of a model that is not looked at."""


@dataclass(frozen=True, slots=True)
class _Subject:
    """The settings of a text: those of a home, or the defaults with a path."""

    data: DataConfig
    model: str
    seed: int


@click.command()
@click.argument("path", metavar="PATH")
@click.option(
    "--base",
    metavar="NAME",
    help="Model whose tokenizer is used: embedded, a folder, or a name on the Hugging Face hub.  [default: "
    "embedded, or that of the home]",
)
@click.option("--window-tokens", type=click.IntRange(8, 131_072), metavar="N", help="Tokens of a window.")
@click.option("--loss", type=click.Choice(get_args(Loss)), help="What bears loss in conversations.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document (below) instead of text.")
def show(path: str, base: str | None, window_tokens: int | None, loss: Loss | None, as_json: bool) -> None:
    """Show what is read of PATH, and three training windows as the model sees them.

    PATH is a text, as for init --data, or the home of a peer, whose settings then hold. Tokens that bear
    loss, which the model learns to write, are green; where there is no colour they stand between {+ and +}.
    No model is loaded, only its tokenizer.

    \b
    Examples:
      gossipllm data show notes/
      gossipllm data show chats.jsonl --base HuggingFaceTB/SmolLM2-135M
      gossipllm data show ~/.gossipllm | less -R

    \b
    JSON, schema 1:
      schema, path, model, loss
      account       files, documents, answered, characters, tokens,
                    bearing, left_out[] and mended[] (what, count, first),
                    windows (length, train, trust, test, longer, silent,
                    rest)
      examples[]    a list of runs: bears, ids, text
    """
    subject = _subject(path)
    changes: dict[str, Any] = {"window_tokens": window_tokens, "loss": loss}
    chosen = {name: value for name, value in changes.items() if value is not None}
    subject = dataclasses.replace(
        subject, data=dataclasses.replace(subject.data, **chosen), model=base or subject.model
    )
    splits, examples = _looked_at(subject)
    if as_json:
        click.echo(json.dumps(_document(subject, splits, examples), indent=2))
    else:
        _print(splits, examples)


def _subject(path: str) -> _Subject:
    settings = Path(path).expanduser() / "peer.toml"
    if not path.strip() or not settings.is_file():
        return _Subject(DataConfig(path=path), EMBEDDED, TrainingConfig().seed)
    values = toml_values(settings)
    read = {name: values[name] for name in ("data", "model", "training") if name in values}
    home = from_mapping(LearnerConfig, read, str(settings))
    return _Subject(home.data, home.model.name, home.training.seed)


def _looked_at(subject: _Subject) -> tuple[Splits, list[tuple[Run, ...]]]:
    # Imported here, because it loads transformers: `gossipllm data --help` must answer at once.
    from gossipllm.model.loading.models import load_tokenizer

    tokenizer = load_tokenizer(subject.model, "--base")
    splits = load_splits(subject.data, tokenizer, context_length=_ANY_LENGTH, seed=subject.seed)
    return splits, [runs_of(window_T, tokenizer) for window_T in spread(splits.train_WT, _EXAMPLES)]


def _document(subject: _Subject, splits: Splits, examples: list[tuple[Run, ...]]) -> dict[str, Any]:
    assert splits.account is not None, "the splits were read from files"
    return {
        "schema": 1,
        "path": subject.data.path,
        "model": subject.model,
        "loss": subject.data.loss,
        "account": dataclasses.asdict(splits.account),
        "examples": [[dataclasses.asdict(run) for run in runs] for runs in examples],
    }


def _print(splits: Splits, examples: list[tuple[Run, ...]]) -> None:
    assert splits.account is not None, "the splits were read from files"
    console = Console(highlight=False)
    coloured = console.color_system is not None and not console.no_color
    for line in splits.account.lines():
        console.print(Text(line), soft_wrap=True)
    for number, runs in enumerate(examples, start=1):
        console.print(Text(f"\n--- training window {number} ---", style="dim"))
        text = Text()
        for run in runs:
            shown = "".join(map(_printable, run.text))
            if run.bears and not coloured:
                shown = f"{{+{shown}+}}"
            text.append(shown, style="green" if run.bears else "dim")
        console.print(text, soft_wrap=True)


def _printable(character: str) -> str:
    """Control characters as escapes, so that a text cannot steer the terminal."""
    if character.isprintable() or character in "\n\t":
        return character
    return character.encode("unicode_escape").decode("ascii")
