"""Trust from byte rows: across two tokenizers, and beside token rows within one.

    python benchmarks/byte_evidence.py [--peers 3] [--steps 60] [--seeds 0,1]

On each of two embedded bases, one of 4,096 tokens and one of 1,024, peers learn French, German or Italian, each from
another part of the embedded texts. All predict on the default reference set, and what they predict is rounded as it is
sent. For each peer and each kind of evidence:

    AUC    the chance that a neighbour of its language is nearer than one of another
    trust  the mean weight of the former over that of the latter, by softmax rows (`trust.rows.softmax`) at each of the
           default temperatures; the median peer's, and at temperature 1 the least of all peers' too

among neighbours with its tokenizer and among those with the other one. Rows are those of peers: across tokenizers,
distances count from the nearest neighbour of a base (`beyond`), because that of the two bases is in all of them. With
"plain" they are as measured. "bytes" is what peers compare, the mean of "rows", the distance of byte rows, and "spans",
that of the likelihoods of words. "variation" is the total variation of byte rows, as that of token rows is taken;
"first byte" leaves out the byte behind a space; "tokens" are token rows, which exist within one tokenizer only;
"change" is 1 less the cosine of what the adapters changed of their bases' byte rows, for which peers would have to send
their bases' rows too. The dullest explanation of an AUC above one half is luck in dealing the texts, so the same
distances are also held against languages that are dealt at random.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from gossipllm.config import DataConfig, LearnerConfig, ModelConfig, TrainingConfig
from gossipllm.learning.jobs.jobs import PredictBytesJob, PredictJob
from gossipllm.learning.jobs.next_bytes import placed
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.text.reference import demo_share
from gossipllm.text.windows import cut, split, tokenise
from gossipllm.work import Failed, Open, Train
from trust.rows.byte_evidence import across_tokenizers, byte_distance, span_distance
from trust.rows.config import TrustConfig
from trust.rows.evidence import Distance, prediction_distance
from trust.rows.softmax import near_by_scale, softmax
from wire.predictions.byte_rows import SYMBOLS, ByteRows, ByteShape, decode_byte_rows, encode_byte_rows
from wire.predictions.logits import SparseRows, decode_rows, encode_rows

BASES: Final = ("embedded", "embedded-1024")
LANGUAGES: Final = ("fr", "de", "it")
_SPACE: Final = 32
_DEALS: Final = 200


@dataclass(frozen=True, slots=True, eq=False)
class Peer:
    """What neighbours see of a peer, and what it cost to send."""

    base: str
    language: str
    tokens: SparseRows
    bytes: ByteRows
    untrained: ByteRows
    """Of the base alone."""
    sizes: tuple[int, int]


def peers_of(base: str, *, count: int, steps: int, seed: int) -> list[Peer]:
    """Train `count` peers of each language on a base, and let them predict."""
    data = DataConfig(path="-", window_tokens=48, trust_windows=2, test_windows=2)
    config = LearnerConfig(
        model=ModelConfig(name=base, device="cpu", threads=torch.get_num_threads()),
        data=data,
        training=TrainingConfig(learning_rate=1e-2, seed=seed),
        evidence=("predictions",),
    )
    pool = LearnerPool(config, lambda _name, _step: None)
    tokenizer, reference = pool.base.tokenizer, pool.reference
    dealt = [(language, part) for language in LANGUAGES for part in range(count)]
    learners: list[Learner] = []
    for index, (language, part) in enumerate(dealt):
        text = demo_share(language, part=part, of=count)
        windows_WT = cut(tokenise(text.splitlines(), tokenizer), data.window_tokens)
        one = replace(config, training=replace(config.training, seed=seed * 100 + index))
        learners.append(pool.new_learner(one, split(windows_WT, data, seed=seed)))
    _done(pool.answer([(one, Open(request=1, config=config, snapshot=None)) for one in learners]))
    assert reference.in_bytes is not None, "both bases have byte rows"
    positions, symbols_V = reference.in_bytes.positions, reference.in_bytes.symbols_V
    windows_WT = reference.windows_WT

    def sent() -> list[bytes]:
        jobs = [PredictBytesJob(one.state, windows_WT, symbols_V, positions.shape.top) for one in learners]
        return [encode_byte_rows(placed(one, positions), positions.shape) for one in pool.perform(jobs)]

    untrained = sent()
    _done(pool.answer([(one, Train(request=2, round=1, steps=steps)) for one in learners]))
    rows = pool.perform([PredictJob(one.state, windows_WT, reference.shape) for one in learners])
    made: list[Peer] = []
    for (language, _), before, after, token_rows in zip(dealt, untrained, sent(), rows, strict=True):
        in_tokens = encode_rows(token_rows, reference.shape)
        made.append(
            Peer(
                base,
                language,
                decode_rows(in_tokens, reference.shape),
                decode_byte_rows(after, positions.shape),
                decode_byte_rows(before, positions.shape),
                (len(in_tokens), len(after)),
            )
        )
    _tell_rows(base, made, positions.shape)
    return made


def _tell_rows(base: str, peers: Sequence[Peer], shape: ByteShape) -> None:
    kept = np.mean([1 - one.bytes.tail_R.mean() for one in peers])
    known = np.mean([~np.isnan(one.bytes.spans_S) for one in peers])
    print(
        f"{base}: {len(peers[0].bytes.at_R)} byte rows of {shape.top} at {shape.offsets} offsets hold {kept:.1%} of "
        f"the mass, {known:.0%} of {shape.spans} spans known; {peers[0].sizes[1]:,} bytes, token rows "
        f"{peers[0].sizes[0]:,}",
        flush=True,
    )


def first_bytes(rows: ByteRows) -> ByteRows:
    """The rows without the byte behind a space: all symbols that begin with a space are one, the space."""
    spaced = (rows.ids_RK >= 256) | (rows.ids_RK == _SPACE)
    mass_R = np.where(spaced, np.exp(rows.logp_RK), 0).sum(axis=1)
    # The places that this frees hold nothing, at names that no byte has and that rise.
    free_K = np.arange(256, 256 + rows.ids_RK.shape[1], dtype=np.uint32)
    ids = np.concatenate((np.where(spaced, free_K, rows.ids_RK), np.full((len(mass_R), 1), _SPACE)), axis=1)
    logp = np.concatenate(
        (np.where(spaced, -100.0, rows.logp_RK), np.log(np.maximum(mass_R, 1e-9))[:, None]), axis=1
    )
    order = np.argsort(ids, axis=1)
    return ByteRows(
        rows.at_R,
        np.take_along_axis(ids, order, axis=1).astype(np.uint32),
        np.take_along_axis(logp, order, axis=1).astype(np.float32),
        rows.tail_R,
        rows.spans_S,
    )


def common_rows(mine: ByteRows, theirs: ByteRows) -> tuple[ByteRows, ByteRows]:
    """The rows at offsets where both have one."""
    at, ours, others = np.intersect1d(mine.at_R, theirs.at_R, return_indices=True)
    first, second = (
        ByteRows(at, one.ids_RK[rows], one.logp_RK[rows], one.tail_R[rows], one.spans_S)
        for one, rows in ((mine, ours), (theirs, others))
    )
    return first, second


def change_distance(mine: Peer, theirs: Peer) -> Distance:
    """1 - cosine of what two adapters changed of their bases' byte rows, where both have a row; not sent today."""
    _, ours, others = np.intersect1d(mine.bytes.at_R, theirs.bytes.at_R, return_indices=True)
    a, b = (_dense(one.bytes) - _dense(one.untrained) for one in (mine, theirs))
    a, b = a[ours].ravel(), b[others].ravel()
    return Distance(float(1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)), 0.0)


def _dense(rows: ByteRows) -> NDArray[np.float64]:
    dense = np.zeros((len(rows.at_R), SYMBOLS))
    np.put_along_axis(dense, rows.ids_RK.astype(np.int64), np.exp(rows.logp_RK.astype(np.float64)), axis=1)
    return dense


KINDS: Final[Mapping[str, Callable[[Peer, Peer], Distance]]] = {
    "tokens": lambda mine, theirs: prediction_distance(mine.tokens, theirs.tokens),
    "bytes": lambda mine, theirs: across_tokenizers(mine.bytes, theirs.bytes),
    "rows": lambda mine, theirs: byte_distance(mine.bytes, theirs.bytes),
    "variation": lambda mine, theirs: prediction_distance(*common_rows(mine.bytes, theirs.bytes)),
    "first byte": lambda mine, theirs: byte_distance(first_bytes(mine.bytes), first_bytes(theirs.bytes)),
    "spans": lambda mine, theirs: span_distance(mine.bytes, theirs.bytes),
    "change": change_distance,
}


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One peer's distances to neighbours of one tokenizer, and which of these have its language. `scale` is empty for
    neighbours with its own tokenizer (`Neighbour.scale`)."""

    distances: list[Distance]
    alike: list[bool]
    scale: str

    @property
    def auc(self) -> float:
        within = [one.mean for one, same in zip(self.distances, self.alike, strict=True) if same]
        across = [one.mean for one, same in zip(self.distances, self.alike, strict=True) if not same]
        return float(np.mean([(a < b) + 0.5 * (a == b) for a in within for b in across]))

    def trust(self, temperature: float) -> float:
        units = near_by_scale(self.distances, [self.scale] * len(self.distances))[1:]
        weights = np.array(softmax(units, temperature=temperature))
        alike = np.array(self.alike)
        return float(weights[alike].mean() / max(weights[~alike].mean(), 1e-9))


def groups(peers: Sequence[Peer], kind: str, *, same: bool) -> list[Group]:
    """Of every peer, among the others that have its tokenizer, or that do not."""
    measure = KINDS[kind]
    found: list[Group] = []
    for mine in peers:
        others = [one for one in peers if one is not mine and (one.base == mine.base) == same]
        found.append(
            Group(
                [measure(mine, one) for one in others],
                [one.language == mine.language for one in others],
                "" if same else "the other base",
            )
        )
    return found


def by_chance(found: Sequence[Group], rng: np.random.Generator) -> float:
    """The 97.5th percentile of the mean AUC where each peer's neighbours have languages at random."""
    means = [
        np.mean([replace(one, alike=rng.permutation(one.alike).tolist()).auc for one in found])
        for _ in range(_DEALS)
    ]
    return float(np.quantile(means, 0.975))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--peers", type=int, default=3, help="peers of each language on each base")
    parser.add_argument("--steps", type=int, default=60, help="local steps of each peer")
    parser.add_argument("--seeds", default="0,1")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for seed in map(int, args.seeds.split(",")):
        peers = [
            peer for base in BASES for peer in peers_of(base, count=args.peers, steps=args.steps, seed=seed)
        ]
        _report(peers, seed)


def _report(peers: Sequence[Peer], seed: int) -> None:
    temperatures = TrustConfig().temperatures
    print(f"\nseed {seed}: AUC (97.5 % by chance), and trust within over across at each temperature")
    print(
        f"{'neighbours':<17}{'evidence':<18}{'AUC':>6}{'chance':>8}"
        + "".join(f"{t:>9g}" for t in temperatures)
        + f"{'least, 1':>10}"
    )
    for same in (True, False):
        for kind in KINDS:
            if kind == "tokens" and not same:
                continue
            found = groups(peers, kind, same=same)
            auc = np.mean([one.auc for one in found])
            chance = by_chance(found, np.random.default_rng(seed))
            for plain in (False,) if same else (False, True):
                rows = [replace(one, scale="") for one in found] if plain else found
                trust = [np.median([one.trust(t) for one in rows]) for t in temperatures]
                least = min(one.trust(1.0) for one in rows)
                name = f"{kind}, plain" if plain else kind
                print(
                    f"{'same' if same else 'other':<7}tokenizer {name:<18}{auc:>6.3f}{chance:>8.3f}"
                    + "".join(f"{one:>9.2f}" for one in (*trust, least)),
                    flush=True,
                )


def _done(answers: Sequence[Any]) -> None:
    for one in answers:
        if isinstance(one, Failed):
            raise SystemExit(one.why)


if __name__ == "__main__":
    main()
