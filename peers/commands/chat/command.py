"""The command `gossipllm chat`. Torch is imported when it runs."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import json
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast, get_args

import click
from rich.console import Console
from rich.text import Text

from gossipllm.config.choices import Device, Dtype
from trust.errors import UserMistake
from trust.progress import progress_stages

if TYPE_CHECKING:
    from gossipllm.chat.answering import Sampling
    from gossipllm.config import ModelConfig
    from gossipllm.model.loading.models import Base
    from peers.commands.chat.session import ChatSession, SpokenAnswer
    from peers.commands.chat.subject import Subject
    from peers.commands.chat.voices import Voice

_NEW_TOKENS: Final = 200
"""Longest answer unless something else is asked for, and at most half of what the model takes. Guess."""


@click.command()
@click.argument("model", metavar="MODEL_OR_HOME")
@click.option(
    "--adapter",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A peer's home or a PEFT adapter, instead of what a home has itself.",
)
@click.option("--no-adapter", is_flag=True, help="Talk with the base alone.")
@click.option("--both", is_flag=True, help="Let the base and the adapter answer, one after the other.")
@click.option("--prompt", metavar="TEXT", help="Answer this and end.")
@click.option("--plain", is_flag=True, help="Continue the text, though the model has a chat template.")
@click.option(
    "--max-new-tokens",
    "new_tokens",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Longest answer.  [default: {_NEW_TOKENS}, at most half of what the model takes]",
)
@click.option(
    "--temperature",
    type=click.FloatRange(0, 100),
    default=0.8,
    show_default=True,
    help="0 always takes the likeliest token.",
)
@click.option(
    "--top-p",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.95,
    show_default=True,
    help="Draw from the likeliest tokens that have this probability together.",
)
@click.option(
    "--seed", type=click.IntRange(0), metavar="N", help="Of the draws.  [default: another one each time]"
)
@click.option("--device", type=click.Choice(get_args(Device)), help="Where to compute.")
@click.option("--dtype", type=click.Choice(get_args(Dtype)), help="Type of the base model.")
@click.option(
    "--threads", type=click.IntRange(0, 1024), metavar="N", help="Processor threads; 0: torch's choice."
)
@click.option(
    "--json", "as_json", is_flag=True, help="An object a line (see above) for each prompt; not in a session."
)
def chat(
    model: str,
    adapter: Path | None,
    no_adapter: bool,
    both: bool,
    prompt: str | None,
    plain: bool,
    new_tokens: int | None,
    temperature: float,
    top_p: float,
    seed: int | None,
    device: str | None,
    dtype: str | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Talk with what a peer has learned, or with its base.

    MODEL_OR_HOME is a peer's home, "embedded", a folder, or a name on the Hugging Face hub. Of a home it takes the
    state that was last saved, also while the peer runs. A model with a chat template
    answers, another one continues the text. In a session, /help lists what can be said to it; from a pipe, each line
    is a prompt of its own.

    \b
    Examples:
      gossipllm chat ~/.gossipllm
      gossipllm chat ~/.gossipllm --both --plain
      gossipllm chat ~/.gossipllm --prompt "What is a port?"
      gossipllm chat embedded --temperature 0
      gossipllm chat ~/models/smol --adapter my-adapter
      gossipllm chat ~/.gossipllm --json < prompts.txt

    \b
    JSON, schema 1, an object a line:
      schema, model, prompt
      adapter    its folder, null where there is none
      chat       whether the chat template was used
      seed, temperature, top_p, max_new_tokens
      answers[]  by ("base" or "adapter"), text, tokens,
                 seconds, ended (by itself), cut (older
                 text fell out)
    """
    if no_adapter and (both or adapter):
        raise UserMistake(f"--no-adapter does not go with {'--both' if both else '--adapter'}")
    interactive = prompt is None and sys.stdin.isatty()
    if as_json and interactive:
        raise UserMistake("--json is for --prompt TEXT, or for prompts from a pipe, one a line")

    from peers.commands.chat.subject import subject_of

    subject = subject_of(model, adapter, bare=no_adapter)
    if both and subject.learned is None:
        raise UserMistake(f"--both: {model} is only a base; name an adapter with --adapter, or a peer's home")
    given = {"device": device, "dtype": dtype, "threads": threads}
    config = dataclasses.replace(subject.config, **{k: v for k, v in given.items() if v is not None})

    from gossipllm.chat.answering import Sampling
    from peers.commands.chat.session import ChatSession
    from peers.commands.chat.voices import voices

    base = _loaded(config)
    if new_tokens is not None and new_tokens >= base.context_length:
        raise UserMistake(
            f"--max-new-tokens is {new_tokens}, but the model takes {base.context_length} tokens with the prompt"
        )
    sampling = Sampling(
        temperature=temperature,
        top_p=top_p,
        new_tokens=new_tokens or min(_NEW_TOKENS, base.context_length // 2),
        seed=secrets.randbelow(2**31) if seed is None else seed,
    )
    if isinstance(stdin := cast("Any", sys.stdin), io.TextIOWrapper):
        # Bytes that are no text, which no tokenizer takes.
        stdin.reconfigure(errors="replace")
    speaking = _speaking(subject, both=both)
    screen = _Console(quiet=as_json)
    with voices(base, subject.learned) as made:
        session = ChatSession(made, screen, sampling=sampling, speaking=speaking, plain=plain)
        if interactive:
            _converse(session, screen)
            return
        prompts = sys.stdin if prompt is None else [_text(prompt)]
        for text, said in session.each(line.rstrip("\n") for line in prompts):
            if as_json:
                click.echo(_json(subject, session, sampling, text, said))


def _loaded(config: ModelConfig) -> Base:
    """The base model. Progress is shown at a terminal only."""
    from transformers.utils.logging import disable_progress_bar

    from gossipllm.model.loading.models import load_base
    from gossipllm.model.loading.progress import load_base_told

    disable_progress_bar()
    err = Console(stderr=True)
    if not err.is_terminal:
        return load_base(config)
    with progress_stages(err) as stages:
        return load_base_told(config, stages.begin)


def _text(word: str) -> str:
    """A command-line argument without surrogates: they stand for bytes that are no text; tokenizers refuse them."""
    return word.encode("utf-8", "replace").decode("utf-8")


def _speaking(subject: Subject, *, both: bool) -> tuple[Voice, ...]:
    if both:
        return ("base", "adapter")
    return ("base",) if subject.learned is None else ("adapter",)


def _converse(session: ChatSession, screen: _Console) -> None:
    with contextlib.suppress(ImportError):
        # Lines can be edited, and earlier ones come back, where Python was built with it.
        importlib.import_module("readline")
    screen.note("/help lists what can be said here; Ctrl-D ends")
    try:
        session.talk(screen.ask)
    except KeyboardInterrupt:
        raise click.Abort from None
    screen.write("\n")


class _Console:
    """Writes answers to standard output and notes to standard error; `quiet` writes neither."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._out = Console(highlight=False)
        self._err = Console(stderr=True, highlight=False)

    def write(self, piece: str) -> None:
        if self._quiet:
            return
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(piece.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()

    def note(self, line: str) -> None:
        if not self._quiet:
            self._err.print(Text(line, style="dim"))

    def heading(self, line: str) -> None:
        if not self._quiet:
            self._out.print(Text(f"{line}:", style="bold"))

    def ask(self) -> str:
        if sys.stdout.isatty():
            return input("> ")
        # Standard output is redirected, and the prompt must not be among the answers.
        sys.stderr.write("> ")
        sys.stderr.flush()
        return input()


def _json(
    subject: Subject, session: ChatSession, sampling: Sampling, prompt: str, said: list[SpokenAnswer]
) -> str:
    return json.dumps(
        {
            "schema": 1,
            "model": subject.config.name,
            "adapter": None if subject.learned is None else str(subject.learned.place),
            "prompt": prompt,
            "chat": session.templated,
            "seed": sampling.seed,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_new_tokens": sampling.new_tokens,
            "answers": [
                {
                    "by": one.by,
                    "text": one.answer.text,
                    "tokens": one.answer.tokens,
                    "seconds": round(one.answer.seconds, 3),
                    "ended": one.answer.ended,
                    "cut": one.cut,
                }
                for one in said
            ],
        }
    )
