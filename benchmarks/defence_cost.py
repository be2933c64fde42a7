"""What the learner's defences cost in a round, as a share of it.

    python benchmarks/defence_cost.py [--neighbours 6,16] [--rounds 2]

One learner on the embedded model with the defaults of a peer: 20 steps of 8 windows of 128 tokens, 16 trust windows, 20
reference windows, rank 8. Its neighbours have trained on other parts of the same texts. A round is Train, a Weigh for
each neighbour, an Evaluate of seven rows and of keeping everything, and a Merge. With defences there is also a Confirm
of all neighbours, with `defence.bind_rows` rows of each, in as many windows, to compute again, and all merges are
clipped. Processor seconds of one thread; rounds with and without take turns from one state, and the ratio is that of
their least ones.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import replace

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Threads of the linear algebra that spin while they wait would count as work.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from gossipllm.config import DataConfig, LearnerConfig, ModelConfig, TrainingConfig
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.text.reference import demo_share
from gossipllm.text.windows import Splits, cut, split, tokenise
from gossipllm.work import (
    Answer,
    Confirm,
    Confirmed,
    Evaluate,
    Failed,
    Finalist,
    Merge,
    Open,
    Train,
    Trained,
    Weigh,
    Work,
)
from peers.core.config import DefenceConfig, RoundConfig
from wire.digest import Content

TEXTS = ("fr", "de", "it")
ROWS = 7


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--neighbours", default="6,16")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    counts = [int(each) for each in options.neighbours.split(",")]
    pool = LearnerPool(_config(0), _silent)
    count = 1 + max(counts)
    learners = [_opened(pool, _config(index), _splits(pool, index, count), None) for index in range(count)]
    neighbours = [_trained(pool, learner, 1) for learner in learners[1:]]
    splits, before = _splits(pool, 0, count), learners[0].snapshot()
    for count in counts:
        spent: dict[float, list[float]] = {0.0: [], LearnerConfig().clip: []}
        for _ in range(options.rounds):
            for clip, seconds in spent.items():
                learner = _opened(pool, replace(_config(0), clip=clip), splits, before)
                began = time.process_time()
                _round(pool, learner, neighbours[:count], defended=clip > 0)
                seconds.append(time.process_time() - began)
        without, with_ = (min(seconds) for seconds in spent.values())
        print(
            f"{count} neighbours: {without:.2f} s without defences, {with_:.2f} s with; "
            f"they are {1 - without / with_:.1%} of the round",
            flush=True,
        )


def _silent(name: str, step: int) -> None:
    del name, step


def _config(index: int) -> LearnerConfig:
    return LearnerConfig(
        model=ModelConfig(name="embedded", threads=1),
        data=DataConfig(path="made by this benchmark"),
        training=TrainingConfig(seed=index),
    )


def _splits(pool: LearnerPool, index: int, count: int) -> Splits:
    data = _config(index).data
    text = demo_share(TEXTS[index % len(TEXTS)], part=index // len(TEXTS), of=-(-count // len(TEXTS)))
    windows_WT = cut(tokenise(text.splitlines(), pool.base.tokenizer), data.window_tokens)
    return split(windows_WT, data, seed=index)


def _opened(pool: LearnerPool, config: LearnerConfig, splits: Splits, snapshot: Content | None) -> Learner:
    learner = pool.new_learner(config, splits)
    _ask(pool, learner, Open(request=0, config=config, snapshot=snapshot))
    return learner


def _trained(pool: LearnerPool, learner: Learner, number: int) -> Trained:
    trained = _ask(pool, learner, Train(request=1, round=number, steps=RoundConfig().steps))
    assert isinstance(trained, Trained)
    return trained


def _round(pool: LearnerPool, learner: Learner, neighbours: Sequence[Trained], *, defended: bool) -> None:
    _trained(pool, learner, 1)
    for number, one in enumerate(neighbours):
        _ask(pool, learner, Weigh(request=2, author=str(number), update=one.update, evidence=one.evidence))
    if defended:
        confirmed = _ask(pool, learner, _confirm(pool, neighbours))
        assert isinstance(confirmed, Confirmed)
        assert all(one.twin == index for index, one in enumerate(confirmed.results)), (
            "all trials are paid for"
        )
    updates = tuple(one.update for one in neighbours)
    keeping = np.linspace(0.1, 0.9, ROWS)
    rows = [(float(own), *((1 - float(own)) / len(updates) for _ in updates)) for own in keeping]
    _ask(pool, learner, Evaluate(request=4, rows=(*rows, (1.0, *(0.0 for _ in updates))), updates=updates))
    _ask(pool, learner, Merge(request=5, row=rows[ROWS // 2], updates=updates))


def _confirm(pool: LearnerPool, neighbours: Sequence[Trained]) -> Confirm:
    """With rows in as many windows as there are rows, which costs most."""
    defence = DefenceConfig()
    shape, windows = pool.reference.shape, len(pool.reference.windows_WT)
    rows = tuple(shape.rows // windows * window for window in range(defence.bind_rows))
    finalists = tuple(
        Finalist(author=str(number), update=one.update, evidence=one.evidence, rows=rows)
        for number, one in enumerate(neighbours)
    )
    return Confirm(request=3, finalists=finalists, share=defence.share)


def _ask(pool: LearnerPool, learner: Learner, request: Work | Open) -> Answer:
    (answer,) = pool.answer([(learner, request)])
    assert not isinstance(answer, Failed), answer
    return answer


if __name__ == "__main__":
    main()
