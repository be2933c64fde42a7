"""A round of nine peers with trust by predictions, against a round without trust.

    python benchmarks/trust_cost.py [--rounds 1] [--threads 1] [--strategies predictions,weights,validation,learned]

Nine learners on the embedded model read three of the embedded texts, with the defaults of a peer: 20 steps of 8
windows, 16 trust windows, four temperatures, 20 reference windows; windows of 64 tokens, to be done sooner. Without
trust a round is the local steps and the mean of all nine adapters, and nothing else. With it there are also the
predictions, a distance for each pair, the own loss and that of every candidate row on the trust split, and the merge
(SVD); two test windows, which only report, are in it too. Processor seconds; the strategies take turns, and the
ratio is that of their least ones.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Threads of the linear algebra that spin while they wait would count as work.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import torch

from gossipllm.config import DataConfig, LearnerConfig, ModelConfig, ReferenceConfig, TrainingConfig
from gossipllm.learning.jobs.batches import batches
from gossipllm.learning.jobs.jobs import StepsJob
from gossipllm.learning.jobs.moments import Moments
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.learning.merging.stack import OwnAdapter, Stack
from gossipllm.learning.merging.updates import Update
from gossipllm.text.reference import demo_share
from gossipllm.text.windows import Windows, cut, split, tokenise
from gossipllm.work import (
    Evaluate,
    Evaluated,
    Failed,
    Fit,
    Fitted,
    Merge,
    Open,
    Request,
    Train,
    Trained,
    Weigh,
    Weighed,
)
from peers.core.config import RoundConfig
from trust.rows.config import TrustConfig, evidence_of
from trust.rows.evidence import Distance
from trust.rows.rows import Candidate, Neighbour, Row, candidate_rows, chosen, starting_row

PEERS = 9
TEXTS = ("fr", "de", "it")
UNREAD = ReferenceConfig(windows=1, window_tokens=2, window_bytes=0, top=1)


class Nine:
    """Learners, and how a round of theirs goes."""

    def __init__(self, strategy: Any) -> None:
        self.trust = TrustConfig(strategy=strategy)
        predicts = "predictions" in evidence_of(self.trust)
        reference = (
            ReferenceConfig()
            if predicts
            else ReferenceConfig(windows=1, window_tokens=2, window_bytes=0, top=1)
        )
        self.config = LearnerConfig(
            model=ModelConfig(threads=torch.get_num_threads()),
            # Two windows: a peer reports test losses in any case, and they are not what is compared.
            data=DataConfig(path="-", window_tokens=64, test_windows=2),
            training=TrainingConfig(learning_rate=1e-2),
            reference=reference,
            evidence=evidence_of(self.trust),
            merge="mean" if strategy == "uniform" else "svd",
        )
        self.pool = LearnerPool(self.config, _silent)
        self._texts: list[Windows] = []
        self.learners = [self._new_learner(peer) for peer in range(PEERS)]
        self._ask([(one, Open(request=1, config=self.config, snapshot=None)) for one in self.learners])
        self._round = 0

    def _new_learner(self, peer: int) -> Learner:
        lines = demo_share(TEXTS[peer % 3], part=peer // 3, of=3).splitlines()
        stream = tokenise([line for line in lines if line], self.pool.base.tokenizer)
        windows_WT = cut(stream, self.config.data.window_tokens)
        config = replace(self.config, training=replace(self.config.training, seed=peer))
        splits = split(windows_WT, config.data, seed=peer)
        self._texts.append(splits.train_WT)
        return self.pool.new_learner(config, splits)

    def _ask(self, questions: list[tuple[Learner, Request]]) -> list[Any]:
        answers = self.pool.answer(questions)
        failed = [one for one in answers if isinstance(one, Failed)]
        if failed:
            raise SystemExit(failed[0].why)
        return answers

    def round(self) -> None:
        steps = RoundConfig().steps
        if self.trust.strategy == "uniform":
            self._round_without_trust(steps)
            return
        train = Train(request=2, round=self._round, steps=steps)
        trained: list[Trained] = self._ask([(one, train) for one in self.learners])
        self._round += 1
        others = [[t for j, t in enumerate(trained) if j != i] for i in range(PEERS)]
        rows = self._rows(trained, others)
        self._ask(
            [
                (one, Merge(request=6, row=row, updates=tuple(t.update for t in theirs)))
                for one, row, theirs in zip(self.learners, rows, others, strict=True)
            ]
        )

    def _round_without_trust(self, steps: int) -> None:
        """The least that training together takes: local steps, and plain averaging by each of the nine."""
        jobs = [
            StepsJob(
                one.state,
                Moments(),
                text_WT,
                _order(len(text_WT), one, self._round, steps),
                one.config.training,
                _silent,
            )
            for one, text_WT in zip(self.learners, self._texts, strict=True)
        ]
        self._round += 1
        states = [done.state for done in self.pool.perform(jobs)]
        adapter = self.learners[0].fleet.blueprint
        everything = adapter.own
        theirs = [
            Update(adapter.offer, everything, adapter.pieces(state, everything), None) for state in states[1:]
        ]
        own = OwnAdapter(states[0], states[0], everything)
        for _ in states:
            Stack(adapter, own, theirs).merge([1 / PEERS] * PEERS, "mean")

    def _rows(self, trained: list[Trained], others: list[list[Trained]]) -> list[Row]:
        neighbours = self._neighbours(trained, others)
        if self.trust.strategy == "learned":
            candidates = [(Candidate(None, row),) for row in self._learned(neighbours, others)]
        else:
            candidates = [candidate_rows(self.trust, theirs) for theirs in neighbours]
        tried: list[Evaluated] = self._ask(
            [
                (
                    one,
                    Evaluate(
                        request=5,
                        rows=tuple(c.row for c in mine),
                        updates=tuple(t.update for t in theirs),
                    ),
                )
                for one, mine, theirs in zip(self.learners, candidates, others, strict=True)
            ]
        )
        return [
            mine[chosen(mine, found.losses) or 0].row for mine, found in zip(candidates, tried, strict=True)
        ]

    def _neighbours(self, trained: list[Trained], others: list[list[Trained]]) -> list[list[Neighbour]]:
        if not self.config.evidence:
            nobody: tuple[Distance, ...] = ()
            return [[Neighbour(str(j), str(j), nobody, (), 0) for j in range(PEERS - 1)] for _ in trained]
        questions: list[tuple[Learner, Request]] = [
            (one, Weigh(request=4, author=str(j), update=t.update, evidence=t.evidence))
            for one, theirs in zip(self.learners, others, strict=True)
            for j, t in enumerate(theirs)
        ]
        answers: list[Weighed] = self._ask(questions)
        found = [
            Neighbour(
                str(j),
                str(j),
                tuple(Distance(m, e) for m, e in zip(a.distances, a.errors, strict=True)),
                a.own,
                0,
            )
            for j, a in enumerate(answers)
        ]
        return [found[i * (PEERS - 1) : (i + 1) * (PEERS - 1)] for i in range(PEERS)]

    def _learned(self, neighbours: list[list[Neighbour]], others: list[list[Trained]]) -> list[Row]:
        fitted: list[Fitted] = self._ask(
            [
                (
                    one,
                    Fit(
                        request=5,
                        row=starting_row({}, mine),
                        updates=tuple(t.update for t in theirs),
                        steps=self.trust.learned_steps,
                        rate=self.trust.learned_rate,
                    ),
                )
                for one, mine, theirs in zip(self.learners, neighbours, others, strict=True)
            ]
        )
        return [one.row for one in fitted]


def _order(windows: int, learner: Learner, round_number: int, steps: int) -> Any:
    return batches(windows, learner.config.training, round_number=round_number, steps=steps)


def _silent(*_: object) -> None:
    pass


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--strategies", default="predictions,weights,validation,learned")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    names = ["uniform", *options.strategies.split(",")]
    groups = {name: Nine(name) for name in names}
    least = dict.fromkeys(names, float("inf"))
    for number in range(options.rounds + 1):
        for name, nine in groups.items():
            began = time.process_time()
            nine.round()
            spent = time.process_time() - began
            print(f"round {number}: {name} {spent:.2f} CPU s", file=sys.stderr, flush=True)
            if number or not options.rounds:  # the first one warms up
                least[name] = min(least[name], spent)
    for name, seconds in least.items():
        print(f"{name:12} {seconds:6.2f} CPU s a round of {PEERS}, ratio {seconds / least['uniform']:.2f}")


if __name__ == "__main__":
    main()
