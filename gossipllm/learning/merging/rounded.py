"""Updates rounded to steps, so that they travel packed (`wire.packing`).

What is rounded is what is announced, not the adapter that trains on: an error is sent in a later round, as part of how
far the adapter then is from what was announced. The author's own predictions are those of the rounded adapter, because
neighbours hold them against its update.
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
from wire.integers import MAX_NUMBERS
from wire.packed_updates import pack_update
from wire.packing import FINENESS, OnSteps, on_steps
from wire.units import encode_offered


@dataclass(frozen=True, slots=True, eq=False)
class RoundedUpdate:
    """An update, its packed forms, and the adapter that its receivers get, whole in its author's form."""

    update: Content
    packed: tuple[PackedUpdate, ...]
    state: State


class UpdateRounder:
    """Rounds the updates of one learner. What it announced last is held in memory: after a restart the next update is
    told apart from nothing."""

    def __init__(self, config: LearnerConfig) -> None:
        traits = MIXINGS[config.mixing]
        self._fineness = FINENESS[config.packing] if traits.rows and not traits.sends_start else None
        self._last: tuple[Content, OnSteps] | None = None

    @staticmethod
    def whole(updates: UpdateFormat, state: State, start: State, units: Collection[int]) -> RoundedUpdate:
        """The update as it is. Raises `ValueError` where a number is not finite."""
        return RoundedUpdate(Content.of(updates.encoded(state, start, units)), (), state)

    def rounded(
        self, updates: UpdateFormat, state: State, start: State, units: Collection[int]
    ) -> RoundedUpdate:
        """The update of these units of `state`, which is as published. Raises `ValueError` where a number is not
        finite."""
        schema, blueprint = updates.schema, updates.blueprint
        offer = schema.offer(units, blueprint.rank)
        layout = schema.layout(offer)
        if self._fineness is None or layout.count > MAX_NUMBERS:
            return self.whole(updates, state, start, units)
        before = self._last
        adapter = on_steps(
            blueprint.pieces(state, units), layout, self._fineness, None if before is None else before[1]
        )
        update = Content.of(encode_offered(adapter.tensors, schema, offer))
        self._last = update, adapter
        forms = [(NO_DIGEST, pack_update(adapter, schema, offer))]
        if before is not None and before[0].digest != update.digest:
            forms.append((before[0].digest, pack_update(adapter, schema, offer, before[0].data)))
        # A tiny adapter is smaller as it is.
        packed = [
            PackedUpdate(base=base, content=Content.of(data))
            for base, data in forms
            if len(data) < update.size
        ]
        return RoundedUpdate(update, tuple(packed), blueprint.placed(adapter.tensors, units, state))
