"""Updates rounded to steps, so that they travel packed (`wire.packing`).

What is rounded is what is announced, not the adapter that trains on: an error is sent in a later round, as part of how
far the adapter then is from what was announced. The author's own predictions are those of the rounded adapter, because
neighbours hold them against its update.

What was announced last is part of the learner's state (`Announced`), so that the first update after a restart is told
apart from it, too, and is no key frame.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from gossipllm.config import LearnerConfig
from gossipllm.config.choices import MIXINGS
from gossipllm.learning.merging.updates import UpdateFormat
from gossipllm.model.adapter.names import State
from gossipllm.work import PackedUpdate
from wire.digest import NO_DIGEST, Content
from wire.errors import WireError
from wire.integers import MAX_NUMBERS
from wire.packed_updates import pack_update
from wire.packing import FINENESS, OnSteps, on_steps
from wire.units import Schema, decode_offered, encode_offered, offer_of


@dataclass(frozen=True, slots=True, eq=False)
class Announced:
    """The update that a learner announced last. `exponents` are those of the steps of its tensors, in the order of its
    layout (`wire.packing`)."""

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
        adapter = on_steps(blueprint.pieces(state, units), layout, self._fineness, held)
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
