"""What predictions take on the wire in steps of 1/8 nat, and what that does to distances
(`wire.predictions.coded_rows`).

    python benchmarks/prediction_sizes.py [--parts 2] [--steps 10,50] [--rate 1e-2] [--json]

Peers learn French, German or Italian on the embedded base and predict on the default reference set, and on the
published number of rows and tokens (Wagner, Fan and Jaggi 2024: 200 x 100). Every size is that of the real encoder.

    bytes   mean over the peers, beside bfloat16
    moved   most that a distance between two peers moves when both are sent in steps, beside the least distance
    order   rank correlation of a peer's distances to all others before and after, the least over the peers
    row     most that a weight of a softmax row moves, at the temperatures 0.1 and 0.02

The dullest explanation of few bytes is that a small vocabulary has few tokens to name. So the same rows are also sent
with tokens that are drawn evenly from GPT-2's 50,257, where nothing can be told from one row about another.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np
import torch

from gossipllm.config import DataConfig, LearnerConfig, ModelConfig, ReferenceConfig, TrainingConfig
from gossipllm.learning.jobs.jobs import PredictJob
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.text.reference import ReferenceSet, demo_share, load_reference
from gossipllm.text.windows import cut, split, tokenise
from gossipllm.work import Open, Train
from trust.rows.evidence import prediction_distance
from wire.predictions.logits import RowsShape, SparseRows, decode_rows, encode_rows

LANGUAGES: Final = ("fr", "de", "it")
TEMPERATURES: Final = (0.1, 0.02)
GPT2_TOKENS: Final = 50_257
PUBLISHED: Final = ReferenceConfig(windows=8, top=100)
"""203 positions in the embedded tokenizer's tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    reference: str
    steps: int
    exact_bytes: int
    coded_bytes: float
    even_tokens_bytes: int
    moved: float
    least: float
    order: float
    row: tuple[float, ...]


def predicted(
    parts: int, steps: Sequence[int], rate: float, references: Sequence[ReferenceConfig]
) -> list[tuple[ReferenceSet, list[list[SparseRows]]]]:
    """For each reference set what all peers predict after each number of steps."""
    data = DataConfig(path="-", window_tokens=48, trust_windows=2, test_windows=2)
    config = LearnerConfig(
        model=ModelConfig(device="cpu", threads=torch.get_num_threads()),
        data=data,
        training=TrainingConfig(learning_rate=rate),
        evidence=("predictions",),
    )
    pool = LearnerPool(config, lambda _name, _step: None)
    base = pool.base
    sets = [
        load_reference(one, base.tokenizer, context_length=base.context_length, vocabulary=base.vocabulary)
        for one in references
    ]
    learners: list[Learner] = []
    for index, (language, part) in enumerate((one, part) for one in LANGUAGES for part in range(parts)):
        text = demo_share(language, part=part, of=parts)
        windows_WT = cut(tokenise(text.splitlines(), base.tokenizer), data.window_tokens)
        own = replace(config, training=replace(config.training, seed=index))
        learners.append(pool.new_learner(own, split(windows_WT, data, seed=0)))
    pool.answer([(one, Open(request=1, config=config, snapshot=None)) for one in learners])
    made: list[tuple[ReferenceSet, list[list[SparseRows]]]] = [(one, []) for one in sets]
    done = 0
    for until in steps:
        if until > done:
            asked = Train(request=2, round=1, steps=until - done)
            pool.answer([(one, asked) for one in learners])
            done = until
        for reference, rows in made:
            jobs = [PredictJob(one.state, reference.windows_WT, reference.shape) for one in learners]
            rows.append(pool.perform(jobs))
    return made


def measured(name: str, steps: int, shape: RowsShape, peers: Sequence[SparseRows]) -> Measured:
    blobs = [encode_rows(one, shape) for one in peers]
    before, after = distances(peers), distances([decode_rows(one, shape) for one in blobs])
    apart = ~np.eye(len(peers), dtype=bool)
    return Measured(
        reference=name,
        steps=steps,
        exact_bytes=replace(shape, coded=False).size,
        coded_bytes=float(np.mean([len(one) for one in blobs])),
        even_tokens_bytes=len(even_tokens(peers[0], shape)),
        moved=float(np.abs(before - after)[apart].max()),
        least=float(before[apart].min()),
        order=min(
            float(np.corrcoef(_ranks(one[mask]), _ranks(other[mask]))[0, 1])
            for one, other, mask in zip(before, after, apart, strict=True)
        ),
        row=tuple(float(np.abs(_rows(before, t) - _rows(after, t)).max()) for t in TEMPERATURES),
    )


def even_tokens(rows: SparseRows, shape: RowsShape) -> bytes:
    rng = np.random.default_rng(0)
    drawn = [rng.choice(GPT2_TOKENS, shape.top, replace=False) for _ in range(shape.rows)]
    even = SparseRows(np.sort(np.array(drawn, np.uint32), axis=1), rows.logp_RK, rows.tail_R)
    return encode_rows(even, replace(shape, vocabulary=GPT2_TOKENS))


def distances(peers: Sequence[SparseRows]) -> np.ndarray:
    return np.array([[prediction_distance(one, other).mean for other in peers] for one in peers])


def _ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values))


def _rows(apart: np.ndarray, temperature: float) -> np.ndarray:
    weights = np.exp(-apart / temperature) * ~np.eye(len(apart), dtype=bool)
    return weights / weights.sum(axis=1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", type=int, default=2, help="peers of each language")
    parser.add_argument("--steps", default="10,50")
    parser.add_argument("--rate", type=float, default=1e-2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    steps = [int(one) for one in options.steps.split(",")]
    references = {"default": ReferenceConfig(), "published": PUBLISHED}
    made = predicted(options.parts, steps, options.rate, list(references.values()))
    results = [
        measured(name, count, reference.shape, peers)
        for name, (reference, all_rows) in zip(references, made, strict=True)
        for count, peers in zip(steps, all_rows, strict=True)
    ]
    if options.json:
        print(json.dumps([asdict(one) for one in results]))
        return
    for name, (reference, _) in zip(references, made, strict=True):
        print(
            f"{name}: {reference.shape.rows} rows of {reference.shape.top} tokens of {reference.shape.vocabulary}"
        )
    print(
        f"{'':18}{'bfloat16':>10}{'steps':>10}{'even tokens':>13}   moved (least)    order   row at 0.1, 0.02"
    )
    for one in results:
        print(
            f"{one.reference:10}{one.steps:4} st.{one.exact_bytes / 1e3:7.1f} kB{one.coded_bytes / 1e3:7.1f} kB"
            f"{one.even_tokens_bytes / 1e3:10.1f} kB   {one.moved:.4f} ({one.least:.2f})   {one.order:.3f}   "
            + ", ".join(f"{each:.4f}" for each in one.row)
        )


if __name__ == "__main__":
    main()
