"""A neighbour's adapter as a peer received it, completed so that it can be measured.

Blocks and heads that the neighbour does not offer are the peer's own, and an adapter of another rank is replaced by the
best approximation of the peer's rank. A peer measures the same when it weighs that neighbour.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import msgspec

from gossipllm.config import LearnerConfig
from gossipllm.config.choices import MIXINGS
from gossipllm.learning.composition.parts import own_part
from gossipllm.learning.merging.stack import completed
from gossipllm.learning.merging.updates import UpdateFormat
from gossipllm.model.adapter.placement import attach
from gossipllm.model.adapter.snapshots import Snapshot
from gossipllm.model.blocks import replace
from gossipllm.model.loading.models import Base
from wire.digest import Content
from wire.errors import WireError


@dataclass(frozen=True, slots=True, eq=False)
class NeighbourAdapter:
    """A received update with the state and configuration of the peer that received it. `name` is safe to print."""

    name: str
    peer: str
    update: Content
    own: Snapshot
    config: LearnerConfig


def laid_over(base: Base, one: NeighbourAdapter) -> Snapshot:
    """The peer's own state with the neighbour's adapter in place of its own. The base stays unchanged.

    Raises `WireError` where the update does not fit the present configuration, and `UserMistake` where the
    configuration names modules that the base does not have.
    """
    attached = attach(base.model, one.config.adapter)
    try:
        blueprint = attached.blueprint(one.config.adapter)
        own = one.own
        if MIXINGS[one.config.mixing].beside and own.header.rank == 2 * blueprint.rank:
            # Only the own one of the two adapters has the neighbour's form.
            header = msgspec.structs.replace(
                own.header, rank=blueprint.rank, alpha=blueprint.config.alpha, gates=()
            )
            own = dataclasses.replace(own, header=header, adapter=own_part(blueprint, own.adapter))
        if 1 <= own.header.rank < blueprint.rank:
            # The own adapter was pruned to a smaller rank than the configuration names.
            blueprint = blueprint.narrowed(own.header.rank)
        shapes = {spec.name: spec.shape for spec in blueprint.layout.tensors}
        if shapes != {name: value.shape for name, value in own.adapter.items()}:
            raise WireError("update", "peer.toml describes another adapter than at the last merge")
        update = UpdateFormat(blueprint, one.config.mixing).decoded(one.update.data)
        return dataclasses.replace(own, adapter=completed(update, own.adapter, blueprint))
    finally:
        for name, site in attached.sites.items():
            replace(base.model, name, site.frozen)
