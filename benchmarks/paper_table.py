"""The comparison of Wagner, Fan and Jaggi (2024, arXiv 2404.09753), table 4, at a size for two cores.

    python benchmarks/paper_table.py --data FOLDER [--out FOLDER] [--seeds 0,1,2] [--jobs 2]
    python benchmarks/paper_table.py --data embedded       one of the three data sets, with no download

Three data sets (`corpora.py` says what stands for which, and where FOLDER comes from), each dealt with low
heterogeneity (true mixtures of 3/4 and 1/4) and high (one category a peer), all methods, several seeds. The base is
a model of 0.17 million parameters that is trained here first on text that no peer holds, mostly English
(`small_base.py`). Rank 4 and alpha 32 as published; the learning rate is that of a small model. As published, rounds
are synchronous, every peer trains alone for a while before the first merge, and no training follows the last merge.

Every run is a run of `gossipllm sim`: a finished run is not repeated, so an interrupted table can be resumed, and
each cell's folder can be inspected with `gossipllm trust show`. Prints the tables and writes them to
`paper_table.md` in the form of `sim/FINDINGS.md`, with the command, the model and the tokens.

--variants adds, for one data set, what the row is applied to and how adapters are merged; --released deals the
two "low" settings that the published code dealt otherwise than described, as it dealt them. Table 5, what is sent,
is printed by `paper_sizes.py`.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, get_args

from corpora import EMBEDDED, Corpus, load, names
from rich.console import Console
from small_base import TINY, losses_by_category, small_base

from gossipllm.config import AdapterConfig, ModelConfig, ReferenceConfig, TrainingConfig
from gossipllm.text.dealing.partitions import PartitionConfig
from peers.core.config import RoundConfig
from sim.comparison.summary import Comparison, compared
from sim.comparison.tables import markdown, print_comparison
from sim.experiments.measuring.metrics import RunMetrics
from sim.experiments.methods import method_named
from sim.experiments.processes.all_runs import RunDone, run_all
from sim.experiments.processes.progress import showing
from sim.experiments.results import begin_results
from sim.experiments.scenarios import Scenario, TextConfig
from trust.errors import UserMistake

METHODS: Final = (
    "local",
    "fedavg",
    "theoretical",
    "s1-text",
    "s2-text",
    "s3-text",
    "local-code",
    "s1-code",
    "s2-code",
    "s3-code",
    "s1",
    "s2",
    "s3",
    "s1*s3",
    "learned",
    "fomo",
)
RECIPES: Final = {
    # Topics differ so little from what the base has read that a high rate forgets more than it learns.
    "topics": {"rate": 3e-3, "batch": 4},
    "multi-wiki": {"rate": 1e-2, "batch": 4},
    "codes-wiki": {"rate": 1e-2, "batch": 4},
}
"""Peak rate and windows of a batch for each data set. Tuned on `local` alone."""
VARIANTS: Final = (
    "local",
    "fedavg",
    "fedavg+svd",
    "theoretical",
    "theoretical+mean",
    "s3",
    "s3+noguard",
    "s3+mean",
    "s3+frozen",
    "s3+updates",
    "s2-text+updates",
    "s1-code+shared",
    "s2-code+shared",
    "s3-code+shared",
    "s2-code+updates",
    "learned+updates",
    "fedavg+updates",
)
RELEASED: Final = ("local", "fedavg", "theoretical", "s2-code", "s3-code", "s2", "s3")

Heterogeneity = Literal["low", "high", "released", "variants"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    corpus: str
    kind: Heterogeneity

    @property
    def name(self) -> str:
        return f"{self.corpus}-{self.kind}"


def sets_of(options: argparse.Namespace) -> list[str]:
    """The data sets that were asked for, or all that the text has."""
    return options.sets.split(",") if options.sets else list(names(options.data))


def cells(options: argparse.Namespace) -> list[Cell]:
    sets, known = sets_of(options), names(options.data)
    unknown = [name for name in sets if name not in known]
    if unknown:
        raise UserMistake(f"--sets {unknown[0]}: {options.data} has {', '.join(known)}")
    kinds: list[Heterogeneity] = options.kinds.split(",")
    chosen = [Cell(corpus=name, kind=kind) for name in sets for kind in kinds]
    if options.variants:
        chosen.append(Cell(corpus="multi-wiki", kind="variants"))
    if options.released:
        chosen += [Cell(corpus=name, kind="released") for name in ("multi-wiki", "codes-wiki")]
    for cell in chosen:
        if cell.kind not in get_args(Heterogeneity):
            raise UserMistake(f"--kinds {cell.kind}: known are {', '.join(get_args(Heterogeneity))}")
    return [cell for cell in chosen if cell.corpus in sets]


def scenario_of(
    cell: Cell, corpus: Corpus, texts: Path, model: Path, options: argparse.Namespace
) -> Scenario:
    steps, rounds, recipe = options.steps, options.rounds, RECIPES[cell.corpus]
    kinds: dict[Heterogeneity, Any] = {"low": "mixture", "released": "released"}
    released = "multi-wiki-low" if cell.corpus == "multi-wiki" else "codes-wiki-low"
    partition = PartitionConfig(
        kind=kinds.get(cell.kind, "exclusive"),
        # Of another kind it would change nothing, and a scenario that says so is refused.
        released=released if cell.kind == "released" else PartitionConfig().released,
        train_tokens=corpus.train_tokens,
        trust_tokens=options.trust_windows * TINY.context,
        test_tokens=32 * TINY.context,
        chunk_tokens=2 * TINY.context,
    )
    methods = {"variants": VARIANTS, "released": RELEASED}.get(cell.kind, METHODS)
    if options.methods:
        methods = tuple(options.methods.split(","))
    return Scenario(
        name=cell.name,
        peers=corpus.users_low if cell.kind == "low" else corpus.users_high,
        seeds=tuple(int(seed) for seed in options.seeds.split(",")),
        methods=methods,
        data=TextConfig(
            sources=tuple(str(texts / f"{kind.name}.jsonl") for kind in corpus.kinds),
            window_tokens=TINY.context,
            trust_windows=options.trust_windows,
            test_windows=32,
            partition=partition,
        ),
        # A fifth of the rounds end without a merge, and the next round trains before it merges: somewhat more than
        # the published 100 of 500 steps.
        round=RoundConfig(
            steps=steps, rounds=rounds, warmup_rounds=_warmup(rounds), barrier=True, patience_s=86_400.0
        ),
        model=ModelConfig(name=str(model), device=options.device, threads=1),
        adapter=AdapterConfig(rank=4, alpha=32.0),
        training=TrainingConfig(
            batch_windows=int(recipe["batch"]), learning_rate=recipe["rate"], warmup_steps=10
        ),
        reference=ReferenceConfig(source=str(texts / "reference.txt")),
    )


def _warmup(rounds: int) -> int:
    """Rounds that end without a merge."""
    return rounds // 5


def write_texts(corpus: Corpus, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for kind in corpus.kinds:
        lines = [json.dumps({"text": document}, ensure_ascii=False) for document in kind.peers]
        (folder / f"{kind.name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    corpus.write_reference(folder / "reference.txt")


def run(scenario: Scenario, out: Path, console: Console, jobs: int) -> list[RunMetrics]:
    begin_results(out, scenario)
    done: list[RunMetrics] = []
    with (
        showing(scenario, console, quiet=False) as shown,
        closing(run_all(scenario, out, jobs=jobs, fresh=False)) as progress,
    ):
        for step in progress:
            shown.take(step)
            if isinstance(step, RunDone):
                done.append(step.metrics)
    return sorted(done, key=lambda run: (scenario.methods.index(run.method), run.seed))


def comparison_of(scenario: Scenario, runs: list[RunMetrics]) -> Comparison:
    return compared(
        runs,
        scenario=scenario.name,
        peers=scenario.peers,
        rounds=scenario.round.rounds,
        about={name: method_named(name).about for name in scenario.methods},
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the corpora, or embedded")
    parser.add_argument("--out", type=Path, default=Path("results/paper-table"))
    parser.add_argument("--sets", help="which data sets  [default: all]")
    parser.add_argument("--kinds", default="high,low", help="of heterogeneity")
    parser.add_argument("--methods", help="other methods than all")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=20, help="local steps of a round")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--trust-windows", type=int, default=16)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--variants", action="store_true")
    parser.add_argument("--released", action="store_true")
    options = parser.parse_args()
    console = Console(stderr=True, highlight=False)
    out: Path = options.out.resolve()
    began = time.perf_counter()
    pages = [head(options)]
    for name in sets_of(options):
        chosen = [cell for cell in cells(options) if cell.corpus == name]
        if not chosen:
            continue
        corpus = load(options.data, name)
        texts = out / "texts" / name
        write_texts(corpus, texts)
        model = small_base(corpus.base, TINY, out / "bases", told=lambda line: console.print(line))
        pages.append(untrained(corpus, model, options))
        for cell in chosen:
            scenario = scenario_of(cell, corpus, texts, model, options)
            comparison = comparison_of(scenario, run(scenario, out / cell.name, console, options.jobs))
            print_comparison(comparison, {}, Console(highlight=False))
            tables, legend = page(comparison)
            pages.append(tables)
            (out / "paper_table.md").write_text("\n".join((*pages, legend)), encoding="utf-8")
    console.print(f"{(time.perf_counter() - began) / 60:.0f} minutes; written to {out / 'paper_table.md'}")


def page(comparison: Comparison) -> tuple[str, str]:
    """A cell's tables under a small heading, and what their columns mean, which all cells share."""
    tables, mark, legend = markdown(comparison).partition("* before, after")
    return tables.replace("# ", "#### ", 1).rstrip() + "\n", mark + legend


def head(options: argparse.Namespace) -> str:
    # Where the text lies on this machine says nothing to others.
    places = {str(options.data): "FOLDER", str(options.out): "OUT"}
    if options.data == EMBEDDED:
        del places[str(options.data)]
    words = [places.get(word, word) for word in sys.argv[1:]]
    return (
        f"## {datetime.now(UTC).date().isoformat()} Table 4 of Wagner et al. (2024), small\n\n"
        f"`python benchmarks/paper_table.py {shlex.join(words)}`, {platform.machine()}\n\n"
        f"Base: Llama, {TINY.layers} layers of width {TINY.width}, vocabulary {TINY.vocabulary}, trained on "
        f"{TINY.tokens / 1e6:.1f} million tokens. {options.rounds} rounds of {options.steps} steps, the first "
        f"merge after {_warmup(options.rounds) + 1} rounds; rank 4, alpha 32, {options.trust_windows} trust windows "
        f"of {TINY.context} tokens.\n"
    )


def untrained(corpus: Corpus, model: Path, options: argparse.Namespace) -> str:
    recipe = RECIPES[corpus.name]
    seen = options.steps * options.rounds * recipe["batch"] * TINY.context
    found = losses_by_category(model, corpus.peers)
    shown = ", ".join(f"{name} {bits:.2f}" for name, (_, bits) in found.items())
    return (
        f"### {corpus.name} (for {corpus.published})\n\nThe base reads, in bits a byte: {shown}. A peer holds "
        f"{corpus.train_tokens:,} training tokens and trains on {seen:,.0f}: batches of {recipe['batch']} windows, "
        f"peak rate {recipe['rate']:g}.\n"
    )


if __name__ == "__main__":
    try:
        main()
    except UserMistake as error:
        raise SystemExit(f"Error: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
