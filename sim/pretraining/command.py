"""`gossipllm sim pretrain`: peers pre-train a random base together, beside one process with as many tokens."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from gossipllm.model.fresh.shape import PRESETS, BaseShape
from sim.experiments.measuring.metrics import RunMetrics
from sim.experiments.processes.all_runs import RunTask
from sim.experiments.processes.process_pool import Finished, TaskFailedError, perform_all
from sim.experiments.results import configurations, finished_run, write_json
from sim.pretraining.arms import ARMS, PretrainConfig
from sim.pretraining.judging import EACH_STEP, SMALL_STEPS, ArmResult, judged
from sim.pretraining.one_process import OneResult, OneTask
from sim.pretraining.scenario import scenario_of
from sim.pretraining.table import print_results
from trust.errors import UserMistake


@dataclass(frozen=True, slots=True)
class BaseTask:
    """Make a base of this shape, with this model's tokenizer, in this folder."""

    shape: BaseShape
    tokenizer: str
    folder: Path


def make_base(task: BaseTask, _advanced: Callable[[int], None]) -> None:
    """In a worker process, because it loads torch."""
    from transformers.utils.logging import disable_progress_bar

    from gossipllm.model.fresh.writing import write_base
    from gossipllm.model.loading.models import load_tokenizer

    disable_progress_bar()
    write_base(task.shape, load_tokenizer(task.tokenizer, "--tokenizer"), task.folder, trained=False)


@click.command()
@click.option("-a", "--arms", metavar="A,B", help="What to compare; see --list.  [default: all]")
@click.option("--peers", type=int, default=8, show_default=True, help="Number of peers.")
@click.option("--steps", type=int, default=256, show_default=True, help="Local steps of each peer in all.")
@click.option("--round-steps", type=int, default=16, show_default=True, help="Local steps of a round.")
@click.option("--batch", type=int, default=1, show_default=True, help="Windows of a peer's batch.")
@click.option(
    "--rates",
    metavar="A,B",
    default="5e-3",
    show_default=True,
    help="Peak learning rates to try for every row.",
)
@click.option(
    "--data",
    "sources",
    multiple=True,
    metavar="PATH",
    help="Text to read; may be repeated.  [default: embedded]",
)
@click.option(
    "--base",
    type=click.Choice(list(PRESETS)),
    default="tiny",
    show_default=True,
    metavar="NAME",
    help="Preset of gossipllm new-base.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything left to chance.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default="results/pretrain",
    help="Folder to write.",
    show_default=True,
)
@click.option("-j", "--jobs", type=click.IntRange(1, 256), help="Runs at a time.  [default: one per core]")
@click.option("--list", "listing", is_flag=True, help="List what is compared, and exit.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON instead of a table.")
def pretrain(
    arms: str | None,
    peers: int,
    steps: int,
    round_steps: int,
    batch: int,
    rates: str,
    sources: tuple[str, ...],
    base: str,
    seed: int,
    out: Path,
    jobs: int | None,
    listing: bool,
    as_json: bool,
) -> None:
    """Pre-train a random base by gossip, and compare with one process that has all the text.

    Peers begin from one random base, read a share of the text each, once, and exchange full models as packed
    differences from it, in several ways. One process takes as many tokens: with all peers' batches put together,
    which is what averaging gradients in each step computes, and with smaller batches and more steps. Bytes are
    all that a peer sent; those of averaged gradients are computed.

    The embedded texts give about two hundred thousand tokens and take some minutes. Runs that have results are not
    repeated.

    \b
    Examples:
      gossipllm sim pretrain
      gossipllm sim pretrain --arms pairs,churn --data wiki.txt --steps 1024
    """
    if listing:
        for name, arm in ARMS.items():
            click.echo(f"{name:<10} {arm.about}")
        return
    chosen = [name.strip() for name in arms.split(",")] if arms else list(ARMS)
    for name in chosen:
        if name not in ARMS:
            raise UserMistake(f"--arms: unknown {name!r}; known are {', '.join(ARMS)}")
    given: dict[str, Any] = {"sources": sources} if sources else {}
    try:
        config = PretrainConfig(
            peers=peers,
            steps=steps,
            round_steps=round_steps,
            batch_windows=batch,
            learning_rates=_rates(rates),
            seed=seed,
            **given,
        )
    except ValueError as error:
        raise UserMistake(f"sim pretrain: {error}") from None
    try:
        results = _measured(config, chosen, base, out, jobs=jobs or os.cpu_count() or 1)
    except TaskFailedError as error:
        raise click.ClickException(str(error)) from None
    write_json(out / "pretrain.json", results)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(results), indent=1).decode())
    else:
        print_results(results, config, Console(highlight=False))


def _measured(
    config: PretrainConfig, chosen: list[str], preset: str, out: Path, *, jobs: int
) -> list[ArmResult]:
    base = out / f"base-{preset}"
    if not (base / "config.json").is_file():
        task = BaseTask(PRESETS[preset], "embedded-1024", base)
        _performed("sim.pretraining.command:make_base", {"base": task}, jobs=1)
    one: dict[str, dict[float, OneResult]] = {EACH_STEP: {}, SMALL_STEPS: {}}
    runs: dict[str, dict[float, RunMetrics]] = {name: {} for name in chosen}
    waiting: dict[str, tuple[str, float, RunTask]] = {}
    for rate in config.learning_rates:
        for name, result in _one_process(config, base, out, rate, jobs=jobs).items():
            one[name][rate] = result
        for name in chosen:
            scenario = scenario_of(config, ARMS[name], base, rate)
            ((method, seed), configuration) = next(iter(configurations(scenario).items()))
            folder = out / name / f"rate-{rate:g}" / f"seed-{seed}"
            found = finished_run(folder, configuration)
            if found is None:
                task = RunTask(scenario, method, seed, folder, configuration)
                waiting[f"{name} at {rate:g}"] = name, rate, task
            else:
                runs[name][rate] = found[0]
    tasks = {title: task for title, (_, _, task) in waiting.items()}
    done = _performed("sim.experiments.processes.all_runs:perform", tasks, jobs=jobs)
    for title, (name, rate, _) in waiting.items():
        runs[name][rate] = done[title][0]
    return judged(config, one, runs)


def _one_process(
    config: PretrainConfig, base: Path, out: Path, rate: float, *, jobs: int
) -> dict[str, OneResult]:
    scenario = scenario_of(config, ARMS["alone"], base, rate)
    batch = config.peers * config.batch_windows
    tasks = {
        EACH_STEP: OneTask(scenario, config.steps, batch),
        SMALL_STEPS: OneTask(scenario, 2 * config.steps, max(1, batch // 2)),
    }
    (configuration,) = configurations(scenario).values()
    file = out / "one-process" / f"rate-{rate:g}.json"
    kept = _kept(file)
    if kept is not None and kept.configuration == configuration:
        return kept.results
    results: dict[str, OneResult] = _performed("sim.pretraining.one_process:perform", tasks, jobs=jobs)
    write_json(file, OneResults(configuration, results))
    return results


def _rates(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserMistake(f"--rates: numbers with commas between, got {text!r}") from None


class OneResults(msgspec.Struct, frozen=True):
    """The whole of `one-process.json`. `configuration` is a digest of all that the results depend on."""

    configuration: str
    results: dict[str, OneResult]


def _kept(file: Path) -> OneResults | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=OneResults)
    except (OSError, msgspec.DecodeError):
        return None


def _performed(function: str, tasks: dict[str, Any], *, jobs: int) -> dict[str, Any]:
    """The result of each task, with a line on standard error for each that is done."""
    if not tasks:
        return {}
    names = list(tasks)
    done: dict[str, Any] = {}
    with closing(perform_all(function, list(tasks.values()), jobs=jobs)) as news:
        for one in news:
            if isinstance(one, Finished):
                done[names[one.task]] = one.result
                click.echo(f"done: {names[one.task]}", err=True)
    return done
