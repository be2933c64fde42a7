"""Ablations of the defaults of trust and merging: one change at a time, on three languages.

    python benchmarks/ablations.py --data FOLDER [--out FOLDER] [--seeds 0,1] [--jobs 2]
    python benchmarks/ablations.py --data embedded         without a download

Data set, base and schedule are those of `paper_table.py` for `multi-wiki`, with high and with low heterogeneity, but
with 10 rounds. Prints for each change the test perplexity after the last merge, and its paired difference from the
default on the same seed. Writes both tables to ablations.md in the output folder. Results are in sim/FINDINGS.md.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from corpora import load
from paper_table import Cell, Heterogeneity, run, scenario_of, write_texts
from rich.console import Console
from small_base import TINY, small_base
from spread import spread

from gossipllm.config.toml import commented_toml
from sim.experiments.measuring.metrics import RunMetrics
from sim.experiments.scenario_files import load_scenario
from sim.experiments.scenarios import Scenario
from trust.errors import UserMistake

CHANGES: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    # Name, method, settings of the scenario. The first is the reference of all differences.
    ("default", "s3", ()),
    ("temperature 1 only", "s3", ("trust.temperatures=[1.0]",)),
    ("temperature 1/4 only", "s3", ("trust.temperatures=[0.25]",)),
    ("temperature 1/16 only", "s3", ("trust.temperatures=[0.0625]",)),
    ("temperatures 1, 1/4", "s3", ("trust.temperatures=[1.0, 0.25]",)),
    ("7 temperatures", "s3", ("trust.temperatures=[4.0, 2.0, 1.0, 0.5, 0.25, 0.125, 0.0625]",)),
    ("no guard", "s3+noguard", ()),
    ("factor mean", "s3+mean", ()),
    ("A frozen", "s3+frozen", ()),
    ("4 partners", "s3", ("round.most_partners=4", "round.explore=1")),
    ("5 reference windows", "s3", ("reference.windows=5",)),
    ("top 2", "s3", ("reference.top=2",)),
    ("4 trust windows", "s3", ("data.trust_windows=4",)),
    ("s1*s3", "s1*s3", ()),
    ("s2", "s2", ()),
    ("s2, weighed on 4 windows", "s2", ("data.weigh_windows=4",)),
    ("s2, weighed on 16 windows", "s2", ("data.weigh_windows=16",)),
    ("learned", "learned", ()),
    ("learned, 4 steps", "learned", ("trust.learned_steps=4",)),
    ("learned, rate 1", "learned", ("trust.learned_rate=1.0",)),
)


def ablate(base: Scenario, out: Path, console: Console, jobs: int) -> dict[str, list[RunMetrics]]:
    """Runs of each change by its name. Finished runs in `out` are not repeated."""
    found: dict[str, list[RunMetrics]] = {}
    file = out / "scenario.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    # Settings are applied by reading the scenario again, because that checks them as on the command line.
    file.write_text(commented_toml(base), encoding="utf-8")
    for number, (name, method, settings) in enumerate(CHANGES):
        console.print(f"{name} ({number + 1} of {len(CHANGES)})")
        scenario = load_scenario(str(file), (f'methods=["{method}"]', *settings))
        found[name] = run(scenario, out / f"change-{number}", console, jobs)
    return found


def table(title: str, found: Mapping[str, Sequence[RunMetrics]]) -> str:
    """Markdown, one line for each change. `found` has runs of the same seeds for each, "default" among them."""
    default = {run.seed: _after(run) for run in found["default"]}
    lines = [f"### {title}", "", "| change | perplexity | against the default |", "| --- | ---: | ---: |"]
    for name, runs in found.items():
        differences = [_after(run) - default[run.seed] for run in runs]
        lines.append(f"| {name} | {spread([_after(run) for run in runs])} | {spread(differences, '+')} |")
    return "\n".join(lines) + "\n"


def _after(run: RunMetrics) -> float:
    """Mean perplexity after the last merge, over peers that have merged."""
    return statistics.fmean(peer.after for peer in run.peers if peer.after is not None)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the corpora, or embedded")
    parser.add_argument("--out", type=Path, default=Path("results/ablations"))
    parser.add_argument("--kinds", default="high,low")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    options.steps, options.rounds, options.trust_windows = 20, 10, 16
    options.device, options.methods = "auto", "s3"
    console, out = Console(stderr=True, highlight=False), options.out.resolve()
    corpus = load(options.data, "multi-wiki")
    write_texts(corpus, out / "texts")
    model = small_base(corpus.base, TINY, out / "bases", told=console.print)
    pages: list[str] = []
    kinds: list[Heterogeneity] = options.kinds.split(",")
    for kind in kinds:
        cell = Cell(corpus="multi-wiki", kind=kind)
        scenario = scenario_of(cell, corpus, out / "texts", model, options)
        pages.append(table(cell.name, ablate(scenario, out / kind, console, options.jobs)))
        print(pages[-1], flush=True)
    (out / "ablations.md").write_text("\n".join(pages), encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except UserMistake as error:
        raise SystemExit(f"Error: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
