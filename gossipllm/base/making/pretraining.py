"""Pretrain an embedded base model, a Llama of one to four million parameters, on a CPU, in an hour at most.

The corpus folder holds `train.txt` and `validation.txt`, one document a line, as
`python -m gossipllm.base.making.corpus` writes them. The output folder receives the tokenizer, the token
streams, `checkpoint.pt`, `curve.csv` and `model/`, which `AutoModelForCausalLM.from_pretrained` can load
at any moment of the run. Ctrl-C saves and stops; `--resume` continues from the checkpoint.

\b
    python -m gossipllm.base.making.pretraining --corpus corpus --out run --minutes 60
    python -m gossipllm.base.making.pretraining --corpus corpus --out run --resume
    python -m gossipllm.base.making.pretraining --corpus corpus --out small --model embedded-small

Each step draws its windows from a generator seeded with (seed, step), and a checkpoint holds weights and
optimiser. On the same machine with the same number of threads, an interrupted and resumed run therefore
ends with the same weights as an uninterrupted one.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

import click
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import PreTrainedTokenizerFast

from gossipllm.base import model_folder
from gossipllm.base.making.checkpoint import PretrainingRun, export, new_run, restore, save, write_curve
from gossipllm.base.making.recipe import RECIPES, ModelRecipe, PretrainingConfig
from gossipllm.base.making.training import curve_point, measured_tokens_per_s, train
from gossipllm.base.making.vocabulary import (
    Tokens,
    bytes_per_token,
    load_tokenizer,
    make_tokenizer,
    token_streams,
)
from gossipllm.config import EMBEDDED

DEFAULT_TOKENS = 10_000_000

_INTERRUPTED = 130
"""The exit status of a command that was stopped by Ctrl-C, so that a shell's `&&` does not continue with an unfinished
model."""


@contextmanager
def stop_signal() -> Generator[threading.Event, None, None]:
    """An event that Ctrl-C and SIGTERM set instead of ending the process, so that a step is never interrupted."""
    stop = threading.Event()

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, ask_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@click.command(help=__doc__)
@click.option("--corpus", type=click.Path(path_type=Path), required=True, help="Folder of the corpus.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option(
    "--model", type=click.Choice(tuple(RECIPES)), help="Which model to make; embedded if none is given."
)
@click.option("--minutes", type=float, help="Budget in minutes, at the speed measured at the start.")
@click.option("--tokens", type=int, help=f"Budget in tokens; {DEFAULT_TOKENS:,} if none is given.")
@click.option("--resume", is_flag=True, help="Continue from the checkpoint in --out.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of weights and windows."
)
@click.option(
    "--threads", type=click.IntRange(1), default=2, show_default=True, help="Number of processor threads."
)
def main(
    corpus: Path,
    out: Path,
    model: str | None,
    minutes: float | None,
    tokens: int | None,
    resume: bool,
    seed: int,
    threads: int,
) -> None:
    check_arguments(corpus, out, resume=resume, model=model, budgets=[minutes, tokens])
    torch.set_num_threads(1)  # `Replicas` has threads of its own, each with a share of the batch
    out.mkdir(parents=True, exist_ok=True)
    model = model or EMBEDDED
    tokenizer, stream, validation = token_streams(corpus, out, partial(tokenizer_for, RECIPES[model]))
    click.echo(f"{len(stream):,} training tokens, {len(validation):,} validation tokens")

    if resume:
        run = restore(out / "checkpoint.pt", lambda name: RECIPES[name].config(len(tokenizer)))
    else:
        config = budgeted(model, tokens or DEFAULT_TOKENS, seed)
        shape = RECIPES[model].config(len(tokenizer))
        if minutes is not None:
            speed = measured_tokens_per_s(new_run(config, shape), stream, threads=threads)
            click.echo(f"{speed:,.0f} tokens/s")
            config = budgeted(model, int(60 * minutes * speed), seed)
        run = new_run(config, shape)
    click.echo(f"{run.config.steps:,} steps of {run.config.tokens_a_step:,} tokens")

    with stop_signal() as stop, progress_bar() as progress:
        after_step = saving_and_showing(run, validation, tokenizer, out, progress, stop)
        train(run, stream, threads=threads, after_step=after_step)
    if run.step < run.config.steps:
        click.echo(f"stopped after step {run.step}: continue with --resume")
        raise SystemExit(_INTERRUPTED)
    click.echo(f"{out / 'model'} is ready")


def tokenizer_for(recipe: ModelRecipe, text: Path) -> PreTrainedTokenizerFast:
    """The tokenizer that the recipe shares with another embedded model, or one made from the training text."""
    if recipe.tokenizer_of:
        return load_tokenizer(model_folder(recipe.tokenizer_of))
    with text.open(encoding="utf-8", newline="") as lines:
        return make_tokenizer(lines, size=recipe.vocabulary)


def budgeted(model: str, tokens: int, seed: int) -> PretrainingConfig:
    """The configuration for this budget of tokens. Raises `click.UsageError` for a budget below one step."""
    try:
        return PretrainingConfig(model=model, tokens=tokens, seed=seed)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def progress_bar() -> Progress:
    return Progress(
        TextColumn("step"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}  {task.description}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )


def saving_and_showing(
    run: PretrainingRun,
    validation: Tokens,
    tokenizer: PreTrainedTokenizerFast,
    out: Path,
    progress: Progress,
    stop: threading.Event,
) -> Callable[[], bool]:
    """The function that `train` calls after each step: it shows progress, evaluates, saves, and returns whether `stop`
    is set."""
    config = run.config
    bytes_V = bytes_per_token(tokenizer)
    began = time.perf_counter() - run.wall_s
    task = progress.add_task("", total=config.steps, completed=run.step)

    def after_step() -> bool:
        run.wall_s = time.perf_counter() - began
        progress.update(task, completed=run.step, description=f"{run.training_nats:.3f} nats/token")
        last = run.step == config.steps
        evaluated = last or run.step % config.evaluate_every == 0
        if evaluated:
            point = curve_point(run, validation, bytes_V, whole=last)
            run.curve.append(point)
            write_curve(run.curve, out / "curve.csv")
            export(run.model, tokenizer, out / "model")
            progress.console.print(
                f"step {run.step}: validation {point.validation_nats:.4f} nats/token, "
                f"{point.bits_per_byte:.4f} bits/byte"
            )
        if evaluated or stop.is_set():
            save(run, out / "checkpoint.pt")
        return stop.is_set()

    return after_step


def check_arguments(
    corpus: Path, out: Path, *, resume: bool, model: str | None, budgets: list[float | int | None]
) -> None:
    """Raises `click.UsageError` for flags that contradict each other or the files that exist."""
    given = sum(budget is not None for budget in budgets)
    if given > 1:
        raise click.UsageError("--minutes and --tokens both set the budget: give one of them")
    if resume and given:
        raise click.UsageError("--resume keeps its run's budget: leave out --minutes, --tokens")
    if resume and model is not None:
        raise click.UsageError("--resume keeps its run's model: leave out --model")
    if any(budget is not None and budget <= 0 for budget in budgets):
        raise click.UsageError("--minutes and --tokens must be positive")
    for name in ("train.txt", "validation.txt"):
        if not (corpus / name).is_file():
            raise click.UsageError(
                f"{corpus / name} is missing: make it with `python -m gossipllm.base.making.corpus`"
            )
    checkpoint = out / "checkpoint.pt"
    for path in (checkpoint, out / "tokenizer"):
        if resume and not path.exists():
            raise click.UsageError(f"{path} is missing: start without --resume")
    if not resume and checkpoint.exists():
        raise click.UsageError(f"{out} holds a run: add --resume or choose another --out")


if __name__ == "__main__":
    main()
