"""Attention heads dealt out to peers: loss against computation and bytes, for a quarter, half and all of the heads.

    python benchmarks/head_training.py [--data FOLDER] [--out FOLDER] [--seeds 0,1] [--jobs 2] [--json]

Four peers that read one language and average plainly, each head over the peers that trained it. A head is trained by
one of them, by two, or by all, drawn again each round; every peer sends the rows and columns of its own heads only. The
base is the embedded model (4 blocks of 4 heads), LoRA of rank 8 on attention. Text: the embedded French one, or
multi/fr.txt of --data, of which there is more.

Others' heads are left out in two ways. "mask": the whole model is computed, and gradients of others' heads are dropped.
"subnet": only the own heads are computed, forward and backward, in the place of all.

    computation   billions of multiplications and additions of a peer in training: tokens times the matrices that they
                  pass forward and, for the gradients of activations, backward. The adapter's own work is left out
    seconds       measured: a training step of one peer alone, best of several, times the steps done
    MB            sent by a peer in the whole run, all messages counted

For each way, perplexity on own test text after a quarter, a half and all of the rounds, as a mean over peers; ± is over
seeds. In the first round nobody knows of others yet, so everybody trains all heads.
About eight minutes on two free cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from paper_table import run
from rich.console import Console
from transformers.utils.logging import disable_progress_bar

from gossipllm.config import AdapterConfig, HeadsConfig, LayersConfig, ModelConfig, TrainingConfig
from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.text.dealing.partitions import PartitionConfig
from gossipllm.work import Failed, Open, Opened, Request, Train
from peers.core.config import RoundConfig
from sim.experiments.configurations import learner_config
from sim.experiments.measuring.metrics import RunMetrics
from sim.experiments.methods import method_named
from sim.experiments.run import shares_of
from sim.experiments.scenarios import Scenario, TextConfig
from trust.errors import UserMistake
from wire.updates.units import Schema

PEERS: Final = 4
WINDOW_TOKENS: Final = 64
TIMED_STEPS: Final = 5
TIMES: Final = 4


@dataclass(frozen=True, slots=True)
class Way:
    """`copies` of 4 peers own each head, 0 for all; `mode` as in [heads]."""

    name: str
    copies: int
    subnet: bool = False

    @property
    def share(self) -> float:
        """Of the heads that a peer trains, on average."""
        return self.copies / PEERS if self.copies else 1.0


WAYS: Final = (
    Way("all heads", 0),
    Way("half, mask", 2),
    Way("half, subnet", 2, subnet=True),
    Way("a quarter, mask", 1),
    Way("a quarter, subnet", 1, subnet=True),
)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One way. `points` has (rounds done, perplexity by seed); costs are of one peer and all rounds."""

    name: str
    points: tuple[tuple[int, dict[int, float]], ...]
    giga_operations: float
    seconds: float
    sent_mb: float


def scenario_of(options: argparse.Namespace, way: Way) -> Scenario:
    source = "embedded:fr" if options.data is None else str(options.data / "multi" / "fr.txt")
    return Scenario(
        name="head-training",
        peers=PEERS,
        seeds=tuple(int(seed) for seed in options.seeds.split(",")),
        methods=("fedavg+heads" if way.copies else "fedavg",),
        data=TextConfig(
            sources=(source,),
            window_tokens=WINDOW_TOKENS,
            trust_windows=8,
            test_windows=24,
            partition=PartitionConfig(
                kind="iid",
                chunk_tokens=WINDOW_TOKENS,
                train_tokens=options.tokens,
                trust_tokens=8 * WINDOW_TOKENS,
                test_tokens=24 * WINDOW_TOKENS,
            ),
        ),
        round=RoundConfig(steps=options.steps, rounds=options.rounds, barrier=True, patience_s=86_400.0),
        model=ModelConfig(threads=1),
        adapter=AdapterConfig(train="heads"),
        layers=LayersConfig(missing="renorm"),
        heads=HeadsConfig(copies=way.copies, mode="subnet" if way.subnet else "mask"),
        training=TrainingConfig(
            learning_rate=1e-2, warmup_steps=min(options.steps, options.rounds * options.steps - 1)
        ),
    )


# -- what a way costs -----------------------------------------------------------------------------------


def operations(model: Any, way: Way, tokens: int) -> float:
    """Multiplications and additions of `tokens` through a Llama's matrices, forward and backward.

    Of the backward pass only the gradients of activations count, which are as much work as the forward pass: the
    base is frozen.
    """
    config = model.config
    heads = config.num_attention_heads * config.head_dim
    groups = config.num_key_value_heads * config.head_dim
    # Query and output, key and value, scores and mixtures over half a window on average.
    attention = config.hidden_size * (2 * heads + 2 * groups) + 2 * heads * WINDOW_TOKENS / 2
    rest = 3 * config.hidden_size * config.intermediate_size
    block = attention * (way.share if way.subnet else 1.0) + rest
    head = config.hidden_size * config.vocab_size
    return 2.0 * 2.0 * tokens * (config.num_hidden_layers * block + head)


def measured(scenario: Scenario, way: Way) -> tuple[float, float]:
    """Seconds of a training step of one peer alone that owns its share of each block's heads, and its operations."""
    config = learner_config(scenario, method_named(scenario.methods[0]), 0, 0)
    pool = LearnerPool(config, lambda _phase, _step: None)
    learner = pool.new_learner(config, shares_of(scenario, 0, pool)[0].splits)

    def ask(request: Request) -> Any:
        (answer,) = pool.answer([(learner, request)])
        if isinstance(answer, Failed):
            raise UserMistake(f"{way.name}: {answer.why}")
        return answer

    opened: Opened = ask(Open(request=0, config=config, snapshot=None))
    units = owned_share(opened, way)
    taken: list[float] = []
    for number in range(TIMES):
        began = time.perf_counter()
        ask(Train(request=number, round=number, steps=TIMED_STEPS, units=units))
        taken.append(time.perf_counter() - began)
    tokens = config.training.batch_windows * WINDOW_TOKENS
    return min(taken) / TIMED_STEPS, operations(pool.base.model, way, tokens)


def owned_share(opened: Opened, way: Way) -> bytes:
    """The bitmap of as many heads of each block as are owned on average; empty for all."""
    schema = Schema(opened.units, opened.codec)
    every = schema.indices(opened.offer)
    chosen = [unit for unit in every if unit % PEERS < round(way.share * PEERS)]
    return schema.offer(chosen, opened.offer.rank).units


# -- the table ------------------------------------------------------------------------------------------


def row_of(way: Way, scenario: Scenario, runs: Sequence[RunMetrics]) -> Row:
    step_s, step_operations = measured(scenario, way)
    rounds = scenario.round.rounds
    return Row(
        name=way.name,
        points=tuple(
            (done, {run.seed: run.curve[done - 1].after for run in runs})
            for done in sorted({max(1, rounds // 4), max(1, rounds // 2), rounds})
        ),
        giga_operations=step_operations * scenario.steps / 1e9,
        seconds=step_s * scenario.steps,
        sent_mb=statistics.fmean(sum(one.sent.values()) for run in runs for one in run.peers) / 1e6,
    )


def markdown(rows: Sequence[Row]) -> str:
    whole = rows[0]
    dones = [str(done) for done, _ in whole.points]
    heads = [f"{done} rounds" for done in dones]
    heads += [title for cost in ("computation", "seconds", "MB") for title in (cost, "of all")]
    lines = [f"| heads | {' | '.join(heads)} |", f"| --- |{' ---: |' * len(heads)}"]
    for row in rows:
        costs = (
            (f"{row.giga_operations:,.1f}", row.giga_operations / whole.giga_operations),
            (f"{row.seconds:,.1f}", row.seconds / whole.seconds),
            (f"{row.sent_mb:,.2f}", row.sent_mb / whole.sent_mb),
        )
        cells = [_spread(list(by_seed.values())) for _, by_seed in row.points]
        cells += [text for cost, share in costs for text in (cost, f"{share:.2f}")]
        lines.append(f"| {row.name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _spread(values: Sequence[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{deviation}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="a folder with multi/fr.txt  [default: the embedded text]")
    parser.add_argument("--out", type=Path, default=Path("results/head-training"))
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=8, help="local steps of a round")
    parser.add_argument("--tokens", type=int, default=6_144, help="of a peer to train on")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print every row instead of a table")
    options = parser.parse_args()
    disable_progress_bar()  # of loading
    console, out = Console(stderr=True, highlight=False), options.out.resolve()
    rows: list[Row] = []
    began = time.monotonic()
    for number, way in enumerate(WAYS):
        left = (time.monotonic() - began) / max(1, number) * (len(WAYS) - number) / 60
        console.print(
            f"{way.name} ({number + 1} of {len(WAYS)}{f', about {left:.0f} min left' if number else ''})"
        )
        scenario = scenario_of(options, way)
        folder = out / way.name.replace(",", "").replace(" ", "-")
        rows.append(row_of(way, scenario, run(scenario, folder, console, options.jobs)))
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
