"""Pretrain the embedded base model: a Llama of 4.3 million parameters, on a CPU, in an hour.

The corpus folder holds `train.txt` and `validation.txt`, one document a line, as
`python -m gossipllm.base.making.corpus` writes them. The output folder receives the tokenizer, the token
streams, `checkpoint.pt`, `curve.csv` and `model/`, which `AutoModelForCausalLM.from_pretrained` can load
at any moment of the run. Ctrl-C saves and stops; `--resume` continues from the checkpoint.

\b
    python -m gossipllm.base.making.pretraining --corpus corpus --out run --minutes 60
    python -m gossipllm.base.making.pretraining --corpus corpus --out run --resume

Each step draws its windows from a generator seeded with (seed, step), and a checkpoint holds weights and
optimiser. On the same machine with the same number of threads, an interrupted and resumed run therefore
ends with the same weights as an uninterrupted one.
"""

# Axes: B windows, T positions, V tokens of the vocabulary.

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import PreTrainedTokenizerFast

from gossipllm.base.making.checkpoint import (
    CurvePoint,
    PretrainingRun,
    export,
    new_run,
    restore,
    save,
    write_curve,
)
from gossipllm.base.making.loss import evaluate, windows
from gossipllm.base.making.recipe import PretrainingConfig, base_config, rate
from gossipllm.base.making.replicas import Replicas
from gossipllm.base.making.vocabulary import Tokens, bytes_per_token, token_streams

DEFAULT_TOKENS = 10_000_000

_INTERRUPTED = 130
"""The exit status of a command that was stopped by Ctrl-C, so that a shell's `&&` does not continue with an unfinished
model."""


def train(run: PretrainingRun, stream: Tokens, *, threads: int, after_step: Callable[[], bool]) -> None:
    """Train until the budget of tokens is spent or `after_step` returns True."""
    with Replicas(run.model, threads) as replicas:
        while run.step < run.config.steps:
            loss = train_step(run, stream, replicas)
            # An exponential mean, which begins with the first loss instead of 0.
            run.training_nats += (loss - run.training_nats) * (1.0 if run.step == 1 else 0.05)
            if after_step():
                return


def train_step(run: PretrainingRun, stream: Tokens, replicas: Replicas) -> float:
    """One step of AdamW on windows at random places of the stream. Returns their mean loss in nats per token."""
    config = run.config
    rng = np.random.default_rng((config.seed, run.step))
    starts = rng.integers(0, len(stream) - config.window_tokens, size=config.batch_windows)
    batch_BT = windows(stream, starts, config.window_tokens)
    for group in run.optimiser.param_groups:
        group["lr"] = rate(run.step, config)
    loss = replicas.add_gradient(batch_BT, micro_windows=config.micro_windows, bf16=config.bf16)
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), config.clip_norm)
    run.optimiser.step()  # pyright: ignore[reportUnknownMemberType]
    run.optimiser.zero_grad()
    run.step += 1
    return loss


def measured_tokens_per_s(run: PretrainingRun, stream: Tokens, *, threads: int) -> float:
    """The speed of training over five steps. They change `run`, so pass a run that is discarded afterwards."""
    with Replicas(run.model, threads) as replicas:
        train_step(run, stream, replicas)  # the first step allocates
        start = time.perf_counter()
        for _ in range(5):
            train_step(run, stream, replicas)
        return 5 * run.config.tokens_a_step / (time.perf_counter() - start)


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
    minutes: float | None,
    tokens: int | None,
    resume: bool,
    seed: int,
    threads: int,
) -> None:
    check_arguments(corpus, out, resume=resume, budgets=[minutes, tokens])
    torch.set_num_threads(1)  # `Replicas` has threads of its own, each with a share of the batch
    out.mkdir(parents=True, exist_ok=True)
    tokenizer, stream, validation = token_streams(corpus, out)
    click.echo(f"{len(stream):,} training tokens, {len(validation):,} validation tokens")

    model_config = base_config(len(tokenizer))
    if resume:
        run = restore(out / "checkpoint.pt", model_config)
    else:
        config = budgeted(tokens or DEFAULT_TOKENS, seed)
        if minutes is not None:
            speed = measured_tokens_per_s(new_run(config, model_config), stream, threads=threads)
            click.echo(f"{speed:,.0f} tokens/s")
            config = budgeted(int(60 * minutes * speed), seed)
        run = new_run(config, model_config)
    click.echo(f"{run.config.steps:,} steps of {run.config.tokens_a_step:,} tokens")

    with stop_signal() as stop, progress_bar() as progress:
        after_step = saving_and_showing(run, validation, tokenizer, out, progress, stop)
        train(run, stream, threads=threads, after_step=after_step)
    if run.step < run.config.steps:
        click.echo(f"stopped after step {run.step}: continue with --resume")
        raise SystemExit(_INTERRUPTED)
    click.echo(f"{out / 'model'} is ready")


def budgeted(tokens: int, seed: int) -> PretrainingConfig:
    """The recipe for this budget of tokens. Raises `click.UsageError` for a budget below one step."""
    try:
        return PretrainingConfig(tokens=tokens, seed=seed)
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


def check_arguments(corpus: Path, out: Path, *, resume: bool, budgets: list[float | int | None]) -> None:
    """Raises `click.UsageError` for flags that contradict each other or the files that exist."""
    given = sum(budget is not None for budget in budgets)
    if given > 1:
        raise click.UsageError("--minutes and --tokens both set the budget: give one of them")
    if resume and given:
        raise click.UsageError("--resume keeps its run's budget: leave out --minutes, --tokens")
    if any(budget is not None and budget <= 0 for budget in budgets):
        raise click.UsageError("--minutes and --tokens must be positive")
    for name in ("train.txt", "validation.txt"):
        if not (corpus / name).is_file():
            raise click.UsageError(
                f"{corpus / name} is missing: make it with `python -m gossipllm.base.making.corpus`"
            )
    checkpoint = out / "checkpoint.pt"
    if resume and not checkpoint.is_file():
        raise click.UsageError(f"{checkpoint} is missing: start without --resume")
    if not resume and checkpoint.exists():
        raise click.UsageError(f"{out} holds a run: add --resume or choose another --out")


def curve_point(
    run: PretrainingRun, validation: Tokens, bytes_V: NDArray[np.int64], *, whole: bool
) -> CurvePoint:
    """Losses and speed of the run as it is; `whole` evaluates on all validation windows."""
    config = run.config
    nats, bits = evaluate(
        run.model,
        validation,
        bytes_V,
        window_tokens=config.window_tokens,
        bf16=config.bf16,
        count=None if whole else config.validation_windows,
    )
    return CurvePoint(
        step=run.step,
        tokens=run.step * config.tokens_a_step,
        training_nats=run.training_nats,
        validation_nats=nats,
        bits_per_byte=bits,
        rate=rate(run.step - 1, config),
        wall_s=run.wall_s,
    )


if __name__ == "__main__":
    main()
