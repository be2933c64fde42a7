"""Updates rounded to steps, so that they travel packed (`wire.updates.packing`).

What is rounded is what is announced, not the adapter that trains on: an error is sent in a later round, as part of how
far the adapter then is from what was announced. The author's own predictions are those of the rounded adapter, because
neighbours hold them against its update.

What was announced last is part of the learner's state (`Announced`), so that the first update after a restart is told
apart from it, too, and is no key frame.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gossipllm.config import LearnerConfig
from gossipllm.config.choices import MIXINGS
from gossipllm.learning.merging.updates import UpdateFormat
from gossipllm.model.adapter.names import A, B, State
from gossipllm.work import PackedUpdate
from wire.digest import NO_DIGEST, Content
from wire.errors import WireError
from wire.floats import F32
from wire.integers import MAX_NUMBERS
from wire.updates.packed_updates import pack_update
from wire.updates.packing import FINENESS, OnSteps, on_steps
from wire.updates.units import Schema, decode_offered, encode_offered, offer_of

F64 = NDArray[np.float64]

MOST_FINER: Final = 4.0
"""How many times as many, or as few, steps a tensor has at most. Guess: products of one adapter differ by less."""


@dataclass(frozen=True, slots=True, eq=False)
class Announced:
    """The update that a learner announced last. `exponents` are those of the steps of its tensors, in the order of its
    layout (`wire.updates.packing`)."""

    update: Content
    exponents: tuple[int, ...]

    def on_steps(self, schema: Schema) -> OnSteps | None:
        """The adapter that its receivers got; None where the update is of another schema."""
        try:
            layout = schema.layout(offer_of(self.update.data, schema))
            _, tensors = decode_offered(self.update.data, schema)
        except WireError:
            return None
        if len(layout.tensors) != len(self.exponents):
            return None
        names = (spec.name for spec in layout.tensors)
        return OnSteps(tensors, dict(zip(names, self.exponents, strict=True)))


@dataclass(frozen=True, slots=True, eq=False)
class RoundedUpdate:
    """An update, its packed forms, the adapter that its receivers get, whole in its author's form, and what the next
    update is told apart from: None where updates travel whole."""

    update: Content
    packed: tuple[PackedUpdate, ...]
    state: State
    announced: Announced | None = None


class UpdateRounder:
    """Rounds the updates of one learner."""

    def __init__(self, config: LearnerConfig) -> None:
        traits = MIXINGS[config.mixing]
        self._fineness = FINENESS[config.packing] if traits.rows and not traits.sends_start else None

    @staticmethod
    def whole(
        updates: UpdateFormat,
        state: State,
        start: State,
        units: Collection[int],
        before: Announced | None = None,
    ) -> RoundedUpdate:
        """The update as it is. Raises `ValueError` where a number is not finite."""
        return RoundedUpdate(Content.of(updates.encoded(state, start, units)), (), state, before)

    def rounded(
        self,
        updates: UpdateFormat,
        state: State,
        start: State,
        units: Collection[int],
        before: Announced | None = None,
    ) -> RoundedUpdate:
        """The update of these units of `state`, which is as published; `before` is what was announced last. Raises
        `ValueError` where a number is not finite."""
        schema, blueprint = updates.schema, updates.blueprint
        offer = schema.offer(units, blueprint.rank)
        layout = schema.layout(offer)
        if self._fineness is None or layout.count > MAX_NUMBERS:
            return self.whole(updates, state, start, units, before)
        held = None if before is None else before.on_steps(schema)
        pieces = blueprint.pieces(state, units)
        # Where a number moves by a few steps a round at most, finer steps would hold large products back.
        parts = finer(pieces) if self._fineness.share == 1 else None
        adapter = on_steps(pieces, layout, self._fineness, held, finer=parts)
        update = Content.of(encode_offered(adapter.tensors, schema, offer))
        forms = [(NO_DIGEST, pack_update(adapter, schema, offer))]
        if before is not None and held is not None and before.update.digest != update.digest:
            forms.append((before.update.digest, pack_update(adapter, schema, offer, before.update.data)))
        # A tiny adapter is smaller as it is.
        packed = [
            PackedUpdate(base=base, content=Content.of(data))
            for base, data in forms
            if len(data) < update.size
        ]
        announced = Announced(update, tuple(adapter.exponents[spec.name] for spec in layout.tensors))
        return RoundedUpdate(
            update, tuple(packed), blueprint.placed(adapter.tensors, units, state), announced
        )


def finer(pieces: Mapping[str, F32]) -> dict[str, float]:
    """How many times as many steps the factors of each product B A are to have, by the names of the factors.

    It is the root mean square of the product over the geometric mean of those of all products. So the errors of all
    products come out about equally large. With steps in proportion to each factor alone large products would have large
    errors, and small ones would travel more finely than the loss can tell. Tensors of no product are not named.
    """
    sizes: dict[str, float] = {}
    for stem in [name.removesuffix(B) for name in pieces if name.endswith(B)]:
        a, b = pieces.get(stem + A), pieces[stem + B]
        if a is not None and a.ndim == b.ndim == 2 and a.shape[0] == b.shape[1]:
            size = _product_rms(b.astype(np.float64), a.astype(np.float64))
            if 0 < size < math.inf:
                sizes[stem] = size
    if not sizes:
        return {}
    typical = math.exp(math.fsum(map(math.log, sizes.values())) / len(sizes))
    parts = {stem: min(MOST_FINER, max(1 / MOST_FINER, size / typical)) for stem, size in sizes.items()}
    return {stem + end: part for stem, part in parts.items() for end in (A, B)}


def _product_rms(b: F64, a: F64) -> float:
    """Of B A, without making it; NaN or infinite where a number is not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        square = float(np.sum((b.T @ b) * (a @ a.T)))
    return math.sqrt(square / (b.shape[0] * a.shape[1])) if square >= 0 else math.nan
