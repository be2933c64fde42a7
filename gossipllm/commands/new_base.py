"""The command `gossipllm new-base`: a random model to pre-train from, the same for everybody who names its seed."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import click

from gossipllm.config.toml import commented_toml, read_toml
from gossipllm.model.fresh.shape import PRESETS, BaseShape
from trust.errors import UserMistake

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("new-base", epilog="\b\nPresets: " + ", ".join(PRESETS))
@click.argument("config", metavar="CONFIG")
@click.option("-o", "--out", metavar="DIR", type=_FOLDER, help="Folder to write.")
@click.option("--tokenizer-text", metavar="PATH", help="Public text that a tokenizer is trained on.")
@click.option("--tokenizer", metavar="NAME", help="Model whose tokenizer the base takes.")
@click.option("--seed", metavar="TEXT", help="Public seed of the weights, in place of that in CONFIG.")
@click.option("--force", is_flag=True, help="Write into DIR although it is not empty.")
@click.option("--show", is_flag=True, help="Print CONFIG as a file, with every setting explained, and exit.")
def new_base(
    config: str,
    out: Path | None,
    tokenizer_text: str | None,
    tokenizer: str | None,
    seed: str | None,
    force: bool,
    show: bool,
) -> None:
    """Make a random model in DIR for peers to pre-train together.

    CONFIG is a preset or a TOML file of a shape and a public seed (see --show). Its weights follow from them
    alone: everybody who runs this command has the same base, bit for bit, on any machine, and peers send only
    how far they are from it. The tokenizer is that of a model ("embedded" ships with the program), or is
    trained on a public text that all peers have; peers compare the digests of both before they exchange
    anything. Transformers loads the folder.

    \b
    Examples:
      gossipllm new-base small -o base --tokenizer embedded-1024
      gossipllm new-base medium -o base --tokenizer-text wiki.txt
      gossipllm new-base small --show > shape.toml
      gossipllm init ada --data notes/ --model base \\
        --set adapter.train=all
    """
    shape = _shape(config, seed)
    if show:
        click.echo(commented_toml(shape), nl=False)
        return
    if out is None:
        raise UserMistake("new-base needs a folder to write: -o DIR")
    if (tokenizer_text is None) == (tokenizer is None):
        raise UserMistake(
            "new-base needs one tokenizer: --tokenizer NAME, or --tokenizer-text PATH to train one"
        )
    from transformers.utils.logging import disable_progress_bar

    from gossipllm.model.adapter.export import check_folder
    from gossipllm.model.fresh.writing import trained_tokenizer, write_base
    from gossipllm.model.loading.models import load_tokenizer

    disable_progress_bar()
    check_folder(out, overwrite=force)
    if tokenizer is None:
        assert tokenizer_text is not None, "one of the two is given"
        taken = trained_tokenizer(shape, tokenizer_text, "--tokenizer-text")
    else:
        taken = load_tokenizer(tokenizer, "--tokenizer")
    made = write_base(shape, taken, out, trained=tokenizer is None)
    click.echo(f"{out}: {made.parameters:,} weights, {made.vocabulary:,} tokens, seed {shape.seed!r}")
    click.echo(f"base {made.base.hex()}")
    click.echo(f"tokenizer {made.tokenizer.hex()}")
    click.echo(
        f"next: gossipllm init HOME --data PATH --model {shlex.quote(str(out))} --set adapter.train=all"
    )


def _shape(config: str, seed: str | None) -> BaseShape:
    """Raises `UserMistake`."""
    if config in PRESETS:
        shape = PRESETS[config]
    elif Path(config).expanduser().is_file():
        shape = read_toml(Path(config).expanduser(), BaseShape)
    else:
        raise UserMistake(f"CONFIG: {config} is no file, and no preset; presets are {', '.join(PRESETS)}")
    if seed is None:
        return shape
    if not seed.strip():
        raise UserMistake("--seed must not be empty")
    return replace(shape, seed=seed)
