"""Training a few blocks at a time, between peers with no server: what it costs in quality, and what decides it.

    python benchmarks/layer_quality.py --data FOLDER [--out FOLDER] [--base CACHE] [--seeds 0,1] [--jobs 2] [--json]

After LEFF (Shen et al., NeurIPS 2025): each round a client draws a window of neighbouring blocks, trains these alone in
a frozen context, and blocks are averaged over the clients that trained them. Here every client is a peer
and averages by itself.
Four tables, each of test perplexity after the last merge, with its difference on the same seed from LoRA on all blocks:

    sampling     8, 16 and 24 peers, Dirichlet 0.1 and 1: windows drawn by importance, uniformly, in turn
    context      what the other blocks are meanwhile: as they are, in 8 or 4 bits, 3/4 to 1/4 kept or distilled, once
                 from the base or in each round with the peer's adapter
    missing      whose weights count for a block that some did not train: of those who did (renorm, as in LEFF), of
                 those and oneself (kept), or all, those of absent ones for one's own (self)
    budget       against LoRA on all blocks that sends as many bytes, and against one that takes as much memory; and all
                 parameters of the window instead of LoRA

The last three have 8 peers and Dirichlet 1. Text: encyclopedic German, French and Italian (`corpora.py`, multi-wiki).
Base: a Llama of 8 blocks of width 96 that has read mostly English, trained here first and kept in --base
(`small_base.py`). LoRA of rank 8. Equal bytes are had by a smaller rank, equal memory by smaller batches, both of as
many steps; memory is estimated as the program itself estimates it where [layers] memory_mb is given.

"kB" is what a peer sends in a round, "MB" the estimated memory of a training step without libraries. About an hour on
two free cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec
from corpora import load
from paper_table import run, write_texts
from rich.console import Console
from small_base import SmallBase, small_base
from spread import spread
from transformers.utils.logging import disable_progress_bar

from gossipllm.config import AdapterConfig, LayersConfig, ModelConfig, ReferenceConfig, TrainingConfig
from gossipllm.config.toml import commented_toml
from gossipllm.learning.passes.memory.step_memory import step_bytes
from gossipllm.model.adapter.placement import attach
from gossipllm.model.loading.models import load_base
from gossipllm.text.dealing.partitions import PartitionConfig
from peers.core.config import RoundConfig
from sim.experiments.configurations import learner_config
from sim.experiments.measuring.metrics import RunMetrics
from sim.experiments.methods import method_named
from sim.experiments.scenario_files import with_settings
from sim.experiments.scenarios import Scenario, TextConfig
from trust.errors import UserMistake
from wire.digest import fingerprint_of

DEEP: Final = SmallBase(
    name="deep", layers=8, width=96, heads=4, vocabulary=2048, context=64, tokens=2_000_000
)
"""1.1 million parameters, some minutes on one core."""

WINDOW: Final = 2
RANK: Final = 8
BATCH: Final = 8
FULL_RATE: Final = 1e-3
"""Peak rate where all parameters are trained. Guess."""
ALL: Final = "LoRA on all blocks"
TABLES: Final = ("sampling", "context", "missing", "budget")


@dataclass(frozen=True, slots=True)
class Case:
    """A row of a table: what is said of it, the method, and settings of the scenario."""

    name: str
    method: str = "fedavg+layers"
    settings: tuple[str, ...] = ()


_DRAWN: Final = tuple(
    Case(f"window, drawn {how}", settings=(f'layers.sampling="{sampling}"',))
    for how, sampling in (
        ("by importance", "importance"),
        ("uniformly", "uniform"),
        ("in turn", "round-robin"),
    )
)
_WHOLE: Final = Case(ALL, "fedavg")
_IMPORTANT: Final = _DRAWN[0]
SAMPLING: Final = (Case("alone, all blocks", "local"), _WHOLE, *_DRAWN)
CONTEXT: Final = (
    _WHOLE,
    _IMPORTANT,
    *(Case(f"window, others in {bits} bits", settings=(f'layers.context="int{bits}"',)) for bits in (8, 4)),
    *(
        Case(
            f"window, {share} of the others {verb}",
            settings=(f'layers.context="{operator}"', f"layers.ratio={ratio}", *more),
        )
        for operator, verb, more in (
            ("drop", "kept", ()),
            ("distil", "distilled", ()),
            ("distil", "distilled anew in each round", ("layers.distil_anew=true",)),
        )
        for share, ratio in (("3/4", 0.75), ("1/2", 0.5), ("1/4", 0.25))
    ),
)
MISSING: Final = (
    _WHOLE,
    _IMPORTANT,
    Case("window, one's own block counts too", "fedavg+layers+kept"),
    Case("window, own block for who did not", "fedavg+layers+self"),
)


Cell = tuple[int, float]
"""Peers, and the concentration of the Dirichlet distribution by which they hold languages."""


def budget_cases(base: Scenario) -> tuple[Case, ...]:
    """Among them the rank and the batch of LoRA on all blocks that come to the bytes and to the memory of a window."""
    rank = max(1, RANK * WINDOW // DEEP.layers)
    compressed = Case(
        "window, 1/2 of the others kept", settings=('layers.context="drop"', "layers.ratio=0.5")
    )
    allowed = memory_of(scenario_with(base, compressed))
    fitting = [
        size for size in range(1, BATCH + 1) if memory_of(scenario_with(base, _batch_of(size))) <= allowed
    ]
    scale = base.adapter.alpha / base.adapter.rank
    full = ('adapter.train="full"', f"training.learning_rate={FULL_RATE}")
    return (
        _WHOLE,
        _IMPORTANT,
        Case(f"all blocks, rank {rank}: as many bytes", "fedavg", _rank(rank, scale)),
        compressed,
        _batch_of(max(fitting, default=1)),
        Case("window, all parameters", settings=full),
        Case("all blocks, all parameters", "fedavg", full),
    )


def _rank(rank: int, scale: float) -> tuple[str, str]:
    """With the same scale, so that a step of B does as much."""
    return f"adapter.rank={rank}", f"adapter.alpha={scale * rank}"


def _batch_of(size: int) -> Case:
    return Case(f"all blocks, batch of {size}: as much memory", "fedavg", (f"training.batch_windows={size}",))


def memory_of(scenario: Scenario) -> int:
    """Estimated bytes of a training step of the scenario's only method."""
    (method,) = scenario.methods
    config = learner_config(scenario, method_named(method), 0, 0)
    base = load_base(config.model)
    blueprint = attach(base.model, config.adapter).blueprint(config.adapter)
    return step_bytes(config, base, blueprint, config.layers.count or blueprint.layers)


def scenario_of(texts: Path, model: Path, options: argparse.Namespace, cell: Cell) -> Scenario:
    peers, alpha = cell
    return Scenario(
        name="layer-quality",
        peers=peers,
        seeds=tuple(int(seed) for seed in options.seeds.split(",")),
        methods=("fedavg",),
        data=TextConfig(
            sources=tuple(str(texts / f"{name}.jsonl") for name in ("de", "fr", "it")),
            window_tokens=DEEP.context,
            trust_windows=8,
            test_windows=16,
            partition=PartitionConfig(
                kind="dirichlet",
                alpha=alpha,
                chunk_tokens=2 * DEEP.context,
                train_tokens=options.tokens,
                trust_tokens=8 * DEEP.context,
                test_tokens=16 * DEEP.context,
            ),
        ),
        round=RoundConfig(steps=options.steps, rounds=options.rounds, barrier=True, patience_s=86_400.0),
        model=ModelConfig(name=str(model), threads=1),
        adapter=AdapterConfig(rank=RANK),
        layers=LayersConfig(count=WINDOW, missing="renorm", distil_steps=options.distil_steps),
        training=TrainingConfig(batch_windows=BATCH, learning_rate=1e-2, warmup_steps=options.steps // 2),
        reference=ReferenceConfig(source=str(texts / "reference.txt")),
    )


def scenario_with(base: Scenario, case: Case) -> Scenario:
    return with_settings(base, (f'methods=["{case.method}"]', *case.settings))


# -- tables ---------------------------------------------------------------------------------------------


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One case in one cell. Perplexities by seed, means over peers; memory and bytes of one peer."""

    table: str
    peers: int
    alpha: float
    name: str
    after: dict[int, float]
    sent_kb: float
    backward_tokens: float
    step_mb: float


def jobs_of(options: argparse.Namespace) -> list[tuple[str, Cell]]:
    """Tables with the cells that they are of."""
    tables: list[str] = options.tables.split(",")
    unknown = [name for name in tables if name not in TABLES]
    if unknown:
        raise UserMistake(f"--tables {unknown[0]}: known are {', '.join(TABLES)}")
    peers = [int(count) for count in options.peers.split(",")]
    cells = [(count, alpha) for alpha in (0.1, 1.0) for count in peers]
    return [(name, cell) for name in tables for cell in (cells if name == "sampling" else [(peers[0], 1.0)])]


def cases_of(table: str, base: Scenario) -> tuple[Case, ...]:
    fixed = {"sampling": SAMPLING, "context": CONTEXT, "missing": MISSING}
    return fixed[table] if table in fixed else budget_cases(base)


def row_of(table: str, cell: Cell, case: Case, scenario: Scenario, runs: Sequence[RunMetrics]) -> Row:
    rounds = sum(run.peer_rounds for run in runs)
    return Row(
        table=table,
        peers=cell[0],
        alpha=cell[1],
        name=case.name,
        after={
            run.seed: statistics.fmean(one.after for one in run.peers if one.after is not None)
            for run in runs
        },
        sent_kb=sum(sum(one.sent.values()) for run in runs for one in run.peers) / rounds / 1e3,
        backward_tokens=sum(sum(run.backward.values()) for run in runs) / rounds,
        step_mb=memory_of(scenario) / 1e6,
    )


def markdown(rows: Sequence[Row]) -> str:
    """One table for each table and cell."""
    pages: list[str] = []
    groups: dict[tuple[str, int, float], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.table, row.peers, row.alpha), []).append(row)
    for (table, peers, alpha), of_cell in groups.items():
        whole = next(row.after for row in of_cell if row.name == ALL)
        lines = [
            f"### {table}: {peers} peers, Dirichlet {alpha:g}",
            "",
            f"| | perplexity | against {ALL} | kB | MB |",
            "| --- | ---: | ---: | ---: | ---: |",
        ]
        for row in of_cell:
            against = [value - whole[seed] for seed, value in row.after.items() if seed in whole]
            cells = (spread([*row.after.values()]), spread(against, "+"))
            lines.append(f"| {row.name} | {' | '.join(cells)} | {row.sent_kb:,.0f} | {row.step_mb:,.1f} |")
        pages.append("\n".join(lines) + "\n")
    return "\n".join(pages)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="a folder with multi/ and codewiki/")
    parser.add_argument("--out", type=Path, default=Path("results/layer-quality"))
    parser.add_argument("--base", type=Path, help="where the base is kept  [default: OUT/bases]")
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--peers", default="8,16,24", help="the first is that of all tables but the first")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=6, help="local steps of a round")
    parser.add_argument("--tokens", type=int, default=8_192, help="of a peer to train on")
    parser.add_argument("--distil-steps", type=int, default=100)
    parser.add_argument("--base-tokens", type=int, default=DEEP.tokens, help="that the base is trained on")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print every row instead of tables")
    options = parser.parse_args()
    disable_progress_bar()  # of loading
    console, out = Console(stderr=True, highlight=False), options.out.resolve()
    corpus = load(options.data, "multi-wiki")
    write_texts(corpus, out / "texts")
    shape = replace(DEEP, tokens=options.base_tokens)
    model = small_base(corpus.base, shape, options.base or out / "bases", told=console.print)
    planned = [
        (table, cell, case, base)
        for table, cell in jobs_of(options)
        for base in [scenario_of(out / "texts", model, options, cell)]
        for case in cases_of(table, base)
    ]
    rows: list[Row] = []
    began = time.monotonic()
    for number, (table, cell, case, base) in enumerate(planned):
        left = (time.monotonic() - began) / max(1, number) * (len(planned) - number) / 60
        hint = f", about {left:.0f} min left" if number else ""
        console.print(f"{table}, {cell[0]} peers, {case.name} ({number + 1} of {len(planned)}{hint})")
        scenario = scenario_with(base, case)
        # A case that two tables have is run once: its folder is named for what it is told.
        folder = out / fingerprint_of("case", [commented_toml(scenario).encode()]).hex()[:16]
        rows.append(row_of(table, cell, case, scenario, run(scenario, folder, console, options.jobs)))
    if options.json:
        print(json.dumps({"schema": 1, "rows": msgspec.to_builtins(rows, str_keys=True)}, indent=2))
        return
    print(markdown(rows))


if __name__ == "__main__":
    try:
        main()
    except UserMistake as mistake:
        raise SystemExit(f"Error: {mistake}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
