"""A learner whose arithmetic is obvious, for worlds about everything else.

The adapter is a vector of `DIMENSION` numbers, the loss its mean squared distance from this peer's target, a
training step a move of a tenth of the way to the target plus `lean`, which is what is particular to this peer's
own text. So a peer alone converges to its target plus its lean, peers with one target and different leans help
each other, and what a merge does can be computed by hand.

No numpy: on four numbers it costs several times what the arithmetic does.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from operator import mul
from typing import TypeAlias

import numpy as np

from gossipllm.work import (
    Evaluate,
    Evaluated,
    Fit,
    Fitted,
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
from peers.core.admission import Keys
from peers.core.config import CoreConfig
from peers.core.events import Learned
from sim.node import Node
from sim.world import World
from wire.digest import Content, fingerprint_of
from wire.logits import RowsShape, SparseRows, encode_rows
from wire.messages import Fingerprints
from wire.tensors import Layout, TensorSpec

Vector: TypeAlias = tuple[float, ...]

DIMENSION = 4
LAYOUT = Layout((TensorSpec("w", (DIMENSION,)),), "f32")
ROWS = RowsShape(rows=1, top=1, vocabulary=2)
STEP = 0.1
TRAIN_S = 1.0
"""Seconds that training is said to have taken, where no world says otherwise."""
ZERO: Vector = (0.0,) * DIMENSION

EVIDENCE = Content.of(
    encode_rows(
        SparseRows(
            np.zeros((1, 1), np.uint32), np.log(np.full((1, 1), 0.5, np.float32)), np.full(1, 0.5, np.float32)
        ),
        ROWS,
    )
)

_WIRE = struct.Struct(f"<{DIMENSION}f")
"""What `LAYOUT` says, for four numbers at a time."""


def fingerprints(base: str = "toy") -> Fingerprints:
    return Fingerprints(
        base=fingerprint_of("toy/base", [base.encode()]),
        tokenizer=fingerprint_of("toy/tokenizer", []),
        reference=fingerprint_of("toy/reference", []),
        layout=LAYOUT.fingerprint,
    )


def add_toy(
    world: World,
    config: CoreConfig,
    target: Sequence[float],
    *,
    lean: Sequence[float] = ZERO,
    speed: float | None = None,
    base: str = "toy",
    keys: Keys | None = None,
) -> Node:
    """A peer with a toy learner that wants to go to `target`; `lean` is what its own text adds to that."""
    return world.add(config, lambda: ToyLearner(target, lean=lean, base=base), speed=speed, keys=keys)


class ToyLearner:
    """Answers every question when it is asked, and says that training took `train_s`."""

    def __init__(
        self,
        target: Sequence[float],
        *,
        lean: Sequence[float] = ZERO,
        base: str = "toy",
        train_s: float = TRAIN_S,
    ) -> None:
        self._target: Vector = tuple(map(float, target))
        self._aim: Vector = tuple(float(t) + float(own) for t, own in zip(target, lean, strict=True))
        self._fingerprints = fingerprints(base)
        self._train_s = train_s
        self._kinds = 1
        self._w: Vector = ZERO

    def ask(self, request: Request) -> Callable[[], Learned]:
        answer = self.answer(request)
        return lambda: answer

    def answer(self, request: Request) -> Learned:
        match request:
            case Open():
                return self._open(request)
            case Train():
                return self._train(request)
            case Weigh():
                return self._weigh(request)
            case Evaluate():
                losses = self._losses(request.rows, request.updates)
                return Evaluated(request=request.request, losses=losses, errors=(0.0,) * len(losses))
            case Fit():
                return self._fit(request)
            case Merge():
                return self._merge(request)

    def _open(self, request: Open) -> Opened:
        self._kinds = len(request.config.evidence)
        if request.snapshot is not None:
            self._w = _vector(request.snapshot)
        return Opened(
            request=request.request,
            fingerprints=self._fingerprints,
            shapes=tuple((spec.name, spec.shape) for spec in LAYOUT.tensors),
            codec=LAYOUT.codec,
            rows=ROWS.rows,
            top=ROWS.top,
            vocabulary=ROWS.vocabulary,
            raw=False,
            round=0,
            train_tokens=1,
            trust_tokens=1,
            test_tokens=1,
            test_loss=self._loss(self._w),
            device="none",
            dtype="float32",
        )

    def _train(self, request: Train) -> Trained:
        kept = (1 - STEP) ** request.steps
        content = self._become(
            tuple(aim + (w - aim) * kept for aim, w in zip(self._aim, self._w, strict=True))
        )
        loss = self._loss(self._w)
        return Trained(
            request=request.request,
            round=request.round,
            update=content,
            evidence=EVIDENCE,
            snapshot=content,
            tokens=request.steps,
            samples=request.steps,
            steps=request.steps,
            train_loss=loss,
            trust_loss=loss,
            seconds=self._train_s,
        )

    def _weigh(self, request: Weigh) -> Weighed:
        """Mean absolute difference, whatever the kind of evidence."""
        theirs = _vector(request.update)
        far = sum(abs(v - w) for v, w in zip(theirs, self._w, strict=True)) / DIMENSION
        nothing = (0.0,) * self._kinds
        return Weighed(
            request=request.request,
            author=request.author,
            distances=(far,) * self._kinds,
            errors=nothing,
            own=nothing,
        )

    def _fit(self, request: Fit) -> Fitted:
        """Exponentiated gradient (Kivinen and Warmuth 1997), which keeps the row a distribution."""
        axes = self._axes(request.updates)
        row, losses = request.row, list[float]()
        for _ in range(request.steps):
            off = [sum(map(mul, row, axis)) - t for axis, t in zip(axes, self._target, strict=True)]
            losses.append(_mean_square(off))
            slopes = [2 * sum(map(mul, off, vector)) / DIMENSION for vector in zip(*axes, strict=True)]
            lowest = min(slopes)
            grown = [
                weight * math.exp(-request.rate * (slope - lowest))
                for weight, slope in zip(row, slopes, strict=True)
            ]
            row = tuple(weight / math.fsum(grown) for weight in grown)
        return Fitted(request=request.request, row=row, losses=tuple(losses))

    def _merge(self, request: Merge) -> Merged:
        before = self._loss(self._w)
        axes = self._axes(request.updates)
        content = self._become(tuple(sum(map(mul, request.row, axis)) for axis in axes))
        after = self._loss(self._w)
        return Merged(
            request=request.request,
            snapshot=content,
            trust_loss=after,
            test_alone=before,
            test_merged=after,
            discarded=0.0,
            seconds=0.0,
        )

    def _losses(self, rows: Sequence[Vector], updates: Sequence[Content]) -> Vector:
        a, b, c, d = self._axes(updates)
        to_a, to_b, to_c, to_d = self._target
        losses: list[float] = []
        # Axis by axis in full: this is asked eight times a round.
        for row in rows:
            off_a, off_b = sum(map(mul, row, a)) - to_a, sum(map(mul, row, b)) - to_b
            off_c, off_d = sum(map(mul, row, c)) - to_c, sum(map(mul, row, d)) - to_d
            losses.append((off_a * off_a + off_b * off_b + off_c * off_c + off_d * off_d) / DIMENSION)
        return tuple(losses)

    def _axes(self, updates: Sequence[Content]) -> list[Vector]:
        """Axis by axis, this peer's number and then everybody's."""
        return list(zip(self._w, *map(_vector, updates), strict=True))

    def _loss(self, w: Vector) -> float:
        return _mean_square([a - b for a, b in zip(w, self._target, strict=True)])

    def _become(self, w: Vector) -> Content:
        """What a neighbour will read is what this peer is, to the last bit."""
        data = _WIRE.pack(*w)
        self._w = _WIRE.unpack(data)
        return Content.of(data)


def _vector(content: Content) -> Vector:
    return _WIRE.unpack(content.data)


def _mean_square(values: Sequence[float]) -> float:
    return sum(map(mul, values, values)) / len(values)
