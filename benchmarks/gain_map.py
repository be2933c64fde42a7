"""Where the network pays: the gain over the best local by text, relatives, relatedness, and the base's distance.

    python benchmarks/gain_map.py --data FOLDER [--axes tokens,relatives] [--seeds 0,1] [--jobs 2] [--out FOLDER]

Four axes, one at a time, around one point: peers of three languages with 10,240 tokens each and two relatives each.
Every point compares one merging method with each user's best local (training alone with early stopping, the same with
a rate that falls on plateaus, and averages of the iterates of both), all at convergence and each at its best of the
learning rates by trust loss.

| axis        | what changes                                                                                  |
| ----------- | --------------------------------------------------------------------------------------------- |
| tokens      | training tokens of a peer; ten passes, or fewer that make 800 steps, at least three           |
| relatives   | peers of the same language, this one left out                                                 |
| relatedness | share of a peer's own language; the rest is of the next one, so that 0.5 is the most related   |
| base        | tokens that the base was trained on, of English mostly: less is farther from the peers' text   |

Writes `gain_map.md` and `gain_map.png`. A finished run is not repeated. The constants of `trust.expectation` are rows
of the axes "tokens" and "relatives" with `--rates 3e-3`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from corpora import EMBEDDED, load
from gain_picture import draw
from honest_settings import BATCH, SETTINGS, Amounts, scenario_of
from paper_table import run, write_texts
from rich.console import Console
from small_base import TINY, small_base

from sim.comparison.users import (
    Gain,
    States,
    averaged_states,
    best_of,
    best_states,
    gain,
    mean_perplexity,
    mean_trust_loss,
)
from sim.experiments.measuring.best_states import AVERAGES
from sim.experiments.measuring.metrics import RunMetrics
from sim.experiments.scenarios import Scenario
from trust.errors import UserMistake

MOST_STEPS: Final = 800
METHOD: Final = "s1+decay"
LONE: Final = ("local", "local+decay")
LANGUAGES: Final = 3
AXES: Final[dict[str, tuple[float, ...]]] = {
    "tokens": (2_560, 5_120, 10_240, 20_480, 40_960),
    "relatives": (1, 2, 4),
    "relatedness": (1.0, 0.75, 0.5),
    "base": (200_000, 1_500_000, 6_000_000),
}
"""Axis -> its values, of which the scenario's own are those of `Point`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One point of the map."""

    tokens: int = 10_240
    relatives: int = 2
    relatedness: float = 1.0
    base: int = TINY.tokens

    @property
    def name(self) -> str:
        return f"{self.tokens}-{self.relatives}-{self.relatedness:g}-{self.base}"

    @property
    def epochs(self) -> int:
        """Passes over the text: ten, but no more than 800 steps, and at least three."""
        steps = self.tokens / TINY.context / BATCH
        return max(3, round(min(10.0, MOST_STEPS / steps)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the method is worth at one value of an axis. `alone` and `together` are mean perplexities of the best local
    and of the method, `base` is that of the untrained adapter."""

    axis: str
    value: float
    base: float
    alone: float
    together: float
    gain: Gain


def points(axis: str, values: Sequence[float]) -> Iterable[tuple[float, Point]]:
    kind = float if axis == "relatedness" else int
    for value in values:
        yield value, replace(Point(), **{axis: kind(value)})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=EMBEDDED, help="folder of texts  [default: embedded]")
    parser.add_argument("--out", type=Path, default=Path("results/gain-map"))
    parser.add_argument("--axes", default=",".join(AXES))
    parser.add_argument("--values", help="other values than all of an axis; for one axis")
    parser.add_argument("--method", default=METHOD)
    parser.add_argument("--rates", default="3e-3,1e-2")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    console = Console(stderr=True, highlight=False)
    found: list[Measured] = []
    for axis in options.axes.split(","):
        if axis not in AXES:
            raise UserMistake(f"--axes {axis}: known are {', '.join(AXES)}")
        values = tuple(map(float, options.values.split(","))) if options.values else AXES[axis]
        for value, point in points(axis, values):
            try:
                found.append(measured(axis, value, point, options, console))
            except UserMistake as error:
                # The embedded text ends before the axis does.
                console.print(f"{axis} {value:g}: {error}")
                continue
            print(_line(found[-1]))
    out: Path = options.out
    (out / "gain_map.md").write_text(_table(found), encoding="utf-8")
    draw(found, out / "gain_map.png")
    console.print(f"written to {out / 'gain_map.md'} and gain_map.png")


def measured(
    axis: str, value: float, point: Point, options: argparse.Namespace, console: Console
) -> Measured:
    """Raises `UserMistake` where there is too little text for the point."""
    out: Path = options.out.resolve()
    by_rate: dict[float, dict[str, list[RunMetrics]]] = {}
    for rate in map(float, options.rates.split(",")):
        scenario = _scenario(point, options, out, rate, console)
        runs = run(scenario, out / point.name / f"{rate:g}", console, options.jobs)
        by_rate[rate] = {name: [one for one in runs if one.method == name] for name in scenario.methods}
    ours = _best_rate([best_states(runs[options.method]) for runs in by_rate.values()])
    lone = [_best_rate([best_states(runs[name]) for runs in by_rate.values()]) for name in LONE]
    averages = [
        _best_rate([averaged_states(runs[name], average) for runs in by_rate.values()])
        for name in LONE
        for average in AVERAGES
    ]
    local = best_of([*lone, *averages])
    change = gain(ours, local)
    assert change is not None, "both methods ran with the same seeds"
    bases = [peer.base for runs in by_rate.values() for one in runs["local"] for peer in one.peers]
    return Measured(
        axis=axis,
        value=value,
        base=next(base for base in bases if base is not None),
        alone=mean_perplexity(local),
        together=mean_perplexity(ours),
        gain=change,
    )


def _scenario(
    point: Point, options: argparse.Namespace, out: Path, rate: float, console: Console
) -> Scenario:
    corpus = load(options.data, "multi-wiki")
    texts = out / "texts" / ("embedded" if options.data == EMBEDDED else "folder")
    write_texts(corpus, texts)
    base = replace(TINY, tokens=point.base)
    model = small_base(corpus.base, base, out / "bases", told=lambda line: console.print(line))
    setting = SETTINGS["languages"]
    scenario = scenario_of(
        "map",
        replace(setting, partition="exclusive" if point.relatedness == 1 else "mixture"),
        Amounts(train_tokens=point.tokens, test_tokens=2_048, epochs=point.epochs),
        corpus=corpus,
        texts=texts,
        model=model,
        peers=LANGUAGES * (point.relatives + 1),
        seeds=tuple(int(seed) for seed in options.seeds.split(",")),
        methods=(*LONE, options.method),
        rate=rate,
        patience=8,
    )
    if point.relatedness == 1:
        return scenario
    partition = replace(scenario.data.partition, major=point.relatedness)
    return replace(scenario, data=replace(scenario.data, partition=partition))


def _best_rate(states: Sequence[States]) -> States:
    return min(states, key=mean_trust_loss)


def _line(one: Measured) -> str:
    change = one.gain.change
    return (
        f"| {one.axis} | {one.value:,g} | {one.base:.1f} | {one.alone:.2f} | {one.together:.2f} | "
        f"{100 * change.value:+.1f} % [{100 * change.low:+.1f}, {100 * change.high:+.1f}] | "
        f"{100 * one.gain.worst:+.1f} % | {one.gain.harmed} of {one.gain.users} |"
    )


def _table(found: list[Measured]) -> str:
    heads = "| axis | value | untrained | best local | together | gain | worst tenth | harmed |"
    return (
        "\n".join((heads, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |", *map(_line, found)))
        + "\n"
    )


if __name__ == "__main__":
    try:
        main()
    except UserMistake as error:
        raise SystemExit(f"Error: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
