"""Averaging weighted by tokens and by samples, between peers: perplexity and ROUGE-L, against one pooled learner.

    python benchmarks/token_weighting.py --data FOLDER [--out FOLDER] [--seeds 0,1,2] [--jobs 2] [--json]
                                         [--bert FOLDER --bert-layer N]

Three peers, dealt questions with answers in two ways: by data set (restaurants, instructions and translations, one
each) and by length (all three together, sorted by the tokens of the answers: short, medium, long). Each round everybody
takes the same number of local steps on batches of the same number of samples, then all merge with the weights

    alpha * tokens / all tokens + (1 - alpha) * samples / all samples

so alpha = 0 is federated averaging, here the same as the plain mean, which is run too: they must agree. The mean of a
loss over tokens calls for alpha = 1. "centralised" is one learner that takes all peers' steps on the pooled data, so it
sees as much text, and updates as many times as all peers together; "local" has no merge at all.

The base is the embedded model of 4.3 million parameters; rank 8, windows of at most --longest tokens. Perplexities are
of each peer's own test samples after the last merge, as a mean over peers and over the text of all together, in which
long answers count more. ROUGE-L is of greedy answers to questions that no peer holds, a mean over the three tasks, by
the first peer's adapter, which after a merge is everybody's ("local": mean over the peers). With --bert, a folder or
hub name of a BERT, BERTScore's F1 of the same answers too, by the hidden states of layer N.
About 40 minutes on two free cores.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from rich.console import Console
from spread import spread
from token_runs import BASELINES, LABEL, PEERS, Result, Run

from gossipllm.config import TrainingConfig
from gossipllm.randomness import permutation
from gossipllm.tasks.metrics import BertModel, check_libraries
from gossipllm.text.dealing.partitions import PartitionConfig, PartitionKind
from peers.core.config import RoundConfig
from sim.experiments.processes.process_pool import Finished, perform_all
from sim.experiments.scenarios import Scenario, TextConfig
from trust.errors import UserMistake
from trust.rows.config import TrustConfig

_MOST: Final = 3_000
"""Most rows of a data set that are dealt to peers."""
_ASKED: Final = 600
"""Rows of E2E to test with; several belong to one restaurant."""
ALPHAS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
PARTITIONS: Final[dict[str, PartitionKind]] = {
    "by data set": "exclusive",
    "by length": "length",
}


# -- the texts, dealt once --------------------------------------------------------------------------------


def write_texts(data: Path, out: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Write the texts and return the sources to train on and those to test with, which share no question."""
    out.mkdir(parents=True, exist_ok=True)
    rows = list(csv.reader(io.StringIO(_text(data / "e2e" / "train.csv"))))
    asked = list(csv.reader(io.StringIO(_text(data / "e2e" / "test.csv"))))
    _write_csv(out / "e2e-train.csv", [rows[0], *_chosen(rows[1:], "e2e", _MOST)])
    # In their order: all references of one restaurant stand together.
    _write_csv(out / "e2e-test.csv", asked[:_ASKED])
    for name, file, share in (
        ("dolly", data / "dolly" / "train.jsonl", 0.05),
        ("pud", data / "translation" / "pud_en_fr_de_it.jsonl", 0.1),
    ):
        # Not `splitlines`, which also breaks at characters that may stand within a line of JSON.
        lines = _chosen([line for line in _text(file).split("\n") if line.strip()], name, _MOST)
        held = round(share * len(lines))
        for part, kept in (("test", lines[:held]), ("train", lines[held:])):
            (out / f"{name}-{part}.jsonl").write_text("\n".join(kept) + "\n", encoding="utf-8")
    train, test = (
        (
            f"e2e:{out}/e2e-{part}.csv",
            f"instructions:{out}/dolly-{part}.jsonl",
            f"translation:en-fr:{out}/pud-{part}.jsonl",
        )
        for part in ("train", "test")
    )
    return train, test


T = TypeVar("T")


def _chosen(items: Sequence[T], name: str, most: int) -> list[T]:
    return [items[int(i)] for i in permutation(LABEL, (name,), len(items))[:most]]


def _write_csv(file: Path, rows: Sequence[Sequence[str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows(rows)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise UserMistake(f"{file} cannot be read: {error.strerror}; --data must hold it") from None


# -- all runs, and the table --------------------------------------------------------------------------------


def runs_of(options: argparse.Namespace, train: tuple[str, ...], test: tuple[str, ...]) -> list[Run]:
    seeds = [int(seed) for seed in options.seeds.split(",")]
    names = (*BASELINES, *(f"{alpha:g}" for alpha in ALPHAS))
    return [
        Run(
            partition=partition,
            name=name,
            seed=seed,
            scenario=scenario_of(options, train, partition, name),
            tests=test,
            prompts=options.prompts,
            bert=BertModel(options.bert, options.bert_layer) if options.bert else None,
        )
        for seed in seeds
        for partition in PARTITIONS
        for name in names
    ]


def scenario_of(options: argparse.Namespace, train: tuple[str, ...], partition: str, name: str) -> Scenario:
    alpha = 0.0 if name in BASELINES else float(name)
    return Scenario(
        name="token-weighting",
        peers=PEERS,
        methods=("tokens",),
        merge="mean",
        data=TextConfig(
            sources=train,
            window_tokens=options.longest,
            train_samples=options.samples,
            trust_samples=8,
            test_samples=options.test_samples,
            trust_windows=8,
            test_windows=options.test_samples,
            partition=PartitionConfig(kind=PARTITIONS[partition]),
        ),
        round=RoundConfig(steps=options.steps, rounds=options.rounds, barrier=True, patience_s=86_400.0),
        # Nobody lies here.
        trust=TrustConfig(tokens_alpha=alpha, tokens_cap=1000.0),
        training=TrainingConfig(
            learning_rate=options.rate, warmup_steps=min(5, options.rounds * options.steps - 1)
        ),
    )


def results_of(runs: Sequence[Run], out: Path, console: Console, jobs: int) -> list[Result]:
    """Results in the order of the runs. A run whose result file is in `out` already is not repeated."""
    files = [out / run.partition.replace(" ", "-") / f"{run.name}-{run.seed}.json" for run in runs]
    found = {
        index: one for index, file in enumerate(files) if (one := _read(file, runs[index].configuration))
    }
    wanted = [index for index in range(len(runs)) if index not in found]
    began, done = time.monotonic(), 0
    for event in (
        perform_all("token_runs:perform", [runs[index] for index in wanted], jobs=jobs) if wanted else ()
    ):
        if not isinstance(event, Finished):
            continue
        index, done = wanted[event.task], done + 1
        found[index] = event.result
        files[index].parent.mkdir(parents=True, exist_ok=True)
        files[index].write_bytes(msgspec.json.encode(event.result))
        left = (time.monotonic() - began) / done * (len(wanted) - done) / 60
        run = runs[index]
        console.print(
            f"{done} of {len(wanted)}: {run.partition}, {run.name}, seed {run.seed}; about {left:.0f} min left"
        )
    return [found[index] for index in range(len(runs))]


def _read(file: Path, configuration: str) -> Result | None:
    try:
        found = msgspec.json.decode(file.read_bytes(), type=Result)
    except (OSError, msgspec.DecodeError):
        return None
    return found if found.configuration == configuration else None


def table(partition: str, results: Sequence[Result]) -> str:
    """Means and standard deviations over seeds; differences from alpha = 0 are paired by seed. BERTScore has columns
    where every run measured it."""
    by_name: dict[str, dict[int, Result]] = {}
    for one in results:
        by_name.setdefault(one.name, {})[one.seed] = one
    with_bert = all(one.bertscore is not None for one in results)
    heads = ["perplexity, mean over peers", "of all text", "against alpha 0", "ROUGE-L", "against alpha 0"]
    heads += ["BERTScore", "against alpha 0"] if with_bert else []
    lines = [f"### {partition}", "", f"| | {' | '.join(heads)} |", f"| --- |{' ---: |' * len(heads)}"]
    for name, of_seed in by_name.items():
        title = name if name in BASELINES else f"alpha {name}"
        both = [(one, by_name["0"][seed]) for seed, one in of_seed.items() if seed in by_name["0"]]
        cells = [
            spread([statistics.fmean(one.perplexities) for one in of_seed.values()]),
            spread([one.pooled for one in of_seed.values()]),
            spread([one.pooled - zero.pooled for one, zero in both], "+"),
            spread([one.rouge_l for one in of_seed.values()]),
            spread([one.rouge_l - zero.rouge_l for one, zero in both], "+"),
        ]
        if with_bert:
            cells += [
                spread([one.bertscore or 0.0 for one in of_seed.values()]),
                spread([(one.bertscore or 0.0) - (zero.bertscore or 0.0) for one, zero in both], "+"),
            ]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="a folder with e2e/, dolly/ and translation/"
    )
    parser.add_argument("--out", type=Path, default=Path("results/token-weighting"))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=10, help="local steps of a round")
    parser.add_argument("--samples", type=int, default=300, help="of a peer to train on")
    parser.add_argument("--test-samples", type=int, default=64, help="of a peer that only measure")
    parser.add_argument("--prompts", type=int, default=48, help="questions of each task to answer")
    parser.add_argument("--longest", type=int, default=128, help="tokens of the longest sample")
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--bert", default="", metavar="FOLDER", help="a BERT to measure BERTScore with")
    parser.add_argument(
        "--bert-layer", type=int, metavar="N", help="its layer, for one that bert-score does not know"
    )
    parser.add_argument("--json", action="store_true", help="print every run instead of tables")
    options = parser.parse_args()
    check_libraries(["rouge", "bertscore"] if options.bert else ["rouge"])
    console, out = Console(stderr=True, highlight=False), options.out.resolve()
    train, test = write_texts(options.data.resolve(), out / "texts")
    runs = runs_of(options, train, test)
    results = results_of(runs, out, console, options.jobs)
    by_partition = {
        partition: [one for run, one in zip(runs, results, strict=True) if run.partition == partition]
        for partition in PARTITIONS
    }
    if options.json:
        print(json.dumps({"schema": 1, "runs": msgspec.to_builtins(by_partition)}, indent=2))
        return
    print("\n".join(table(partition, found) for partition, found in by_partition.items()))


if __name__ == "__main__":
    try:
        main()
    except UserMistake as error:
        raise SystemExit(f"Error: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
