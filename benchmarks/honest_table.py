"""What the network is worth over the best that a device can do alone, at convergence, with baselines of a sceptic.

    python benchmarks/honest_table.py                       on the text that ships with the package, no download
    python benchmarks/honest_table.py --data FOLDER         on real text (`corpora.py` says what FOLDER holds)
    ... [--sets languages,unrelated] [--seeds 0,1,2] [--methods s3,s1] [--jobs 2] [--out FOLDER]

Every method runs for ten passes over each peer's text, and each peer's result is its best state by its own trust
split (`sim.experiments.measuring.best_states`); alone this is early stopping. Methods `+decay` lower the rate on
plateaus of a peer's trust loss instead of over the run, and take up to three times as many passes, as `local+steps3`
does. With several --rates, all methods run at all rates with the first seed; then each method runs with the other seeds
at the rate of least mean trust loss. The test split chooses nothing.

Lone baselines, whose best by trust loss is a user's *best local*: training alone, with three times the steps, with
three times the batch, with a rate that falls on plateaus, and with the public reference text; and of each the mean and
the moving average of the iterates. `local+trust` trains on the trust split as well; no split is left to stop it by, so
it stops at the round at which plain `local` stopped, and stands for itself. `pooled` has the text of all users of a
kind; the best of its variants and their averages, chosen in the same way, is the *best pooled*.

A few of the baselines, for a quick look: `--lone local --methods s3`.

The settings stand in `honest_settings.py`: two in which relatives help, and three that show the cheap explanations:
clones (averaging alone), unrelated peers (harm), identical peers (plain averaging). A finished run is not repeated.
Figures of `sim/FINDINGS.md` are from this script; `honest_pages.py` writes the tables.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from corpora import EMBEDDED
from honest_pages import LEGEND, Results, page
from honest_settings import SETTINGS, Setting, amounts, scenario_of
from paper_table import run, write_texts
from rich.console import Console
from small_base import TINY, small_base

from sim.comparison.users import best_states, mean_trust_loss
from sim.experiments.measuring.metrics import RunMetrics
from sim.experiments.methods import method_named
from sim.experiments.scenarios import Scenario
from trust.errors import UserMistake

LONE: Final = ("local", "local+steps3", "local+batch3", "local+decay", "local+public")
"""Whose best by trust loss is the best local."""
METHODS: Final = (
    "local+trust",
    "pooled",
    "pooled+steps3",
    "pooled+decay",
    "fedavg",
    "theoretical",
    "s1",
    "s2",
    "s3",
    "s1+decay",
    "s3+decay",
)
RATES: Final = "1e-3,3e-3,1e-2"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=EMBEDDED, help="folder of texts  [default: embedded]")
    parser.add_argument("--out", type=Path, default=Path("results/honest-table"))
    parser.add_argument("--sets", help=f"some of {', '.join(SETTINGS)}  [default: all that the text is for]")
    parser.add_argument("--lone", default=",".join(LONE), help="baselines of which the best local is chosen")
    parser.add_argument("--methods", help="others than all; all run besides the lone baselines")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--peers", type=int, help="other than the setting's number of peers")
    parser.add_argument("--tokens", type=int, help="training tokens of a peer")
    parser.add_argument("--epochs", type=int, default=10, help="passes over each peer's text")
    parser.add_argument("--rates", default=RATES, help=f"grid of learning rates  [default: {RATES}]")
    parser.add_argument("--patience", type=int, default=8, help="rounds without a gain that end a run")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    console = Console(stderr=True, highlight=False)
    out: Path = options.out.resolve()
    pages = [_head(options)]
    for name in _sets(options):
        results = measured(name, SETTINGS[name], options, out, console)
        pages.append(page(name, results, lone=options.lone.split(",")))
        print(pages[-1])
        (out / "honest_table.md").write_text("\n".join((*pages, LEGEND)), encoding="utf-8")
    print(LEGEND)
    console.print(f"written to {out / 'honest_table.md'}")


def measured(
    name: str, setting: Setting, options: argparse.Namespace, out: Path, console: Console
) -> Results:
    """The runs of a setting, each method at its own best rate."""
    data: Path = options.data
    corpus = setting.load(data)
    place = "embedded" if data == EMBEDDED else "folder"
    texts = out / "texts" / f"{setting.corpus}-{place}"
    write_texts(corpus, texts)
    model = small_base(corpus.base, TINY, out / "bases", told=lambda line: console.print(line))
    seeds = tuple(int(seed) for seed in options.seeds.split(","))
    rates = [float(rate) for rate in options.rates.split(",")]
    scenario = scenario_of(
        name,
        setting,
        amounts(data, options.tokens, options.epochs),
        corpus=corpus,
        texts=texts,
        model=model,
        peers=options.peers,
        seeds=seeds,
        methods=_methods(options),
        rate=rates[0],
        patience=options.patience,
    )

    def at(rate: float, methods: Sequence[str], seeds: Sequence[int]) -> list[RunMetrics]:
        training = replace(scenario.training, learning_rate=rate)
        chosen = replace(scenario, methods=tuple(methods), seeds=tuple(seeds), training=training)
        return run(chosen, out / f"{place}-{name}-{_amount(scenario)}" / f"{rate:g}", console, options.jobs)

    tried = {rate: _by_method(at(rate, scenario.methods, seeds[:1])) for rate in rates}
    chosen = {method: _best_rate(method, tried) for method in scenario.methods}
    runs: dict[str, list[RunMetrics]] = {}
    for rate in rates:
        if methods := [method for method in scenario.methods if chosen[method] == rate]:
            runs |= _by_method(at(rate, methods, seeds))
    return Results(scenario=scenario, rates=chosen, runs={name: runs[name] for name in scenario.methods})


def _best_rate(method: str, tried: Mapping[float, Mapping[str, Sequence[RunMetrics]]]) -> float:
    """The rate of least mean trust loss. Training on the trust split takes the rate of training without."""
    judged = "local" if method_named(method).text == "trust" else method
    return min(tried, key=lambda rate: mean_trust_loss(best_states(tried[rate][judged])))


def _by_method(runs: Sequence[RunMetrics]) -> dict[str, list[RunMetrics]]:
    by_method: dict[str, list[RunMetrics]] = {}
    for one in runs:
        by_method.setdefault(one.method, []).append(one)
    return by_method


def _methods(options: argparse.Namespace) -> tuple[str, ...]:
    others = options.methods.split(",") if options.methods else METHODS
    return tuple(dict.fromkeys((*options.lone.split(","), *others)))


def _sets(options: argparse.Namespace) -> list[str]:
    possible = [name for name, one in SETTINGS.items() if one.embedded or options.data != EMBEDDED]
    if not options.sets:
        return possible
    for name in options.sets.split(","):
        if name not in possible:
            raise UserMistake(f"--sets {name}: the text is for {', '.join(possible)}")
    return options.sets.split(",")


def _amount(scenario: Scenario) -> str:
    return f"{scenario.peers}x{scenario.data.partition.train_tokens}x{scenario.round.rounds}"


def _head(options: argparse.Namespace) -> str:
    # Where the text lies on this machine says nothing to others.
    places = {str(options.data): "FOLDER", str(options.out): "OUT"}
    if options.data == EMBEDDED:
        del places[str(options.data)]
    words = [places.get(word, word) for word in sys.argv[1:]]
    return f"`python benchmarks/honest_table.py {shlex.join(words)}`\n"


if __name__ == "__main__":
    try:
        main()
    except UserMistake as error:
        raise SystemExit(f"Error: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
