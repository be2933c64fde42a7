"""A learner whose arithmetic is obvious, and signatures that cost nothing, for worlds about everything else.

The adapter is a vector of `DIMENSION` numbers, the loss its mean squared distance from this peer's target, a
training step a move of a tenth of the way to the target plus `lean`, which is what is particular to this peer's
own text. So a peer alone converges to its target plus its lean, peers with one target and different leans help
each other, and what a merge does can be computed by hand.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

import numpy as np

from gossipllm.work import (
    Evaluate,
    Evaluated,
    Merge,
    Merged,
    Open,
    Opened,
    Request,
    Train,
    Trained,
    Weigh,
    Weighed,
)
from peers.core.events import Learned
from wire.digest import Content, fingerprint_of
from wire.floats import F32
from wire.logits import RowsShape, SparseRows, encode_rows
from wire.messages import Fingerprints
from wire.tensors import Layout, TensorSpec, decode_update, encode_update

DIMENSION = 4
LAYOUT = Layout((TensorSpec("w", (DIMENSION,)),), "f32")
ROWS = RowsShape(rows=1, top=1, vocabulary=2)
STEP = 0.1
TRAIN_S = 1.0
"""Virtual seconds of a round's local steps on a device of speed 1; everything else is free."""

EVIDENCE = Content.of(
    encode_rows(
        SparseRows(
            np.zeros((1, 1), np.uint32), np.log(np.full((1, 1), 0.5, np.float32)), np.full(1, 0.5, np.float32)
        ),
        ROWS,
    )
)


def fingerprints(base: str = "toy") -> Fingerprints:
    return Fingerprints(
        base=fingerprint_of("toy/base", [base.encode()]),
        tokenizer=fingerprint_of("toy/tokenizer", []),
        reference=fingerprint_of("toy/reference", []),
        layout=LAYOUT.fingerprint,
    )


@dataclass(frozen=True, slots=True)
class ToyKeys:
    """Keyed digests in place of signatures: anyone can make anyone's. For worlds without forgers."""

    public_key: bytes

    @classmethod
    def of(cls, name: str) -> ToyKeys:
        return cls(hashlib.sha256(name.encode()).digest())

    @property
    def peer_id(self) -> str:
        return self.peer_id_of(self.public_key)

    def sign(self, message: bytes) -> bytes:
        return hmac.digest(self.public_key, message, "sha512")

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        return hmac.compare_digest(hmac.digest(public_key, message, "sha512"), signature)

    def peer_id_of(self, public_key: bytes) -> str:
        return f"toy-{public_key[:6].hex()}"


class ToyLearner:
    """Answers every request at once, and says that training took `train_s`; the world lets it take as long."""

    def __init__(
        self,
        target: F32,
        *,
        lean: F32 | None = None,
        base: str = "toy",
        start: F32 | None = None,
        train_s: float = TRAIN_S,
    ) -> None:
        self._target = target
        self._aim = target if lean is None else target + lean
        self._base = base
        self._train_s = train_s
        self._w: F32 = np.zeros(DIMENSION, np.float32) if start is None else start

    def answer(self, request: Request) -> Learned:
        match request:
            case Open():
                return self._open(request)
            case Train():
                return self._train(request)
            case Weigh():
                far = float(np.abs(_vector(request.update) - self._w).mean())
                return Weighed(request=request.request, author=request.author, distance=far, error=0.0)
            case Evaluate():
                losses = tuple(self._loss(self._mixed(row, request.updates)) for row in request.rows)
                errors = tuple(0.0 for _ in losses)
                return Evaluated(request=request.request, losses=losses, errors=errors)
            case Merge():
                before = self._loss(self._w)
                self._w = self._mixed(request.row, request.updates)
                after = self._loss(self._w)
                return Merged(
                    request=request.request,
                    snapshot=self._content(),
                    trust_loss=after,
                    test_alone=before,
                    test_merged=after,
                    discarded=0.0,
                    seconds=0.0,
                )

    def _open(self, request: Open) -> Opened:
        if request.snapshot is not None:
            self._w = _vector(request.snapshot)
        return Opened(
            request=request.request,
            fingerprints=fingerprints(self._base),
            shapes=tuple((spec.name, spec.shape) for spec in LAYOUT.tensors),
            codec=LAYOUT.codec,
            rows=ROWS.rows,
            top=ROWS.top,
            vocabulary=ROWS.vocabulary,
            round=0,
            train_tokens=1,
            trust_tokens=1,
            test_tokens=1,
            test_loss=self._loss(self._w),
            device="none",
            dtype="float32",
        )

    def _train(self, request: Train) -> Trained:
        kept = np.float32((1 - STEP) ** request.steps)
        self._w = (self._aim + (self._w - self._aim) * kept).astype(np.float32)
        return Trained(
            request=request.request,
            round=request.round,
            update=self._content(),
            evidence=EVIDENCE,
            snapshot=self._content(),
            tokens=request.steps,
            samples=request.steps,
            steps=request.steps,
            train_loss=self._loss(self._w),
            trust_loss=self._loss(self._w),
            seconds=self._train_s,
        )

    def _mixed(self, row: tuple[float, ...], updates: tuple[Content, ...]) -> F32:
        vectors = [self._w, *map(_vector, updates)]
        mixed = sum(w * v.astype(np.float64) for w, v in zip(row, vectors, strict=True))
        return np.asarray(mixed, np.float32)

    def _loss(self, w: F32) -> float:
        return float(np.mean((w - self._target) ** 2))

    def _content(self) -> Content:
        return Content.of(encode_update({"w": self._w}, LAYOUT))


def _vector(content: Content) -> F32:
    return decode_update(content.data, LAYOUT)["w"]
