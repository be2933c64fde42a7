"""A neighbour's adapter as a peer received it, completed so that it can be measured.

Blocks and heads that the neighbour does not offer are the peer's own, and an adapter of another rank is replaced by the
best approximation of the peer's rank. A peer measures the same when it weighs that neighbour.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from gossipllm.config import LearnerConfig
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
        if 1 <= one.own.header.rank < blueprint.rank:
            # The own adapter was pruned to a smaller rank than the configuration names.
            blueprint = blueprint.narrowed(one.own.header.rank)
        shapes = {spec.name: spec.shape for spec in blueprint.layout.tensors}
        if shapes != {name: value.shape for name, value in one.own.adapter.items()}:
            raise WireError("update", "peer.toml describes another adapter than at the last merge")
        update = UpdateFormat(blueprint, one.config.mixing).decoded(one.update.data)
        return dataclasses.replace(one.own, adapter=completed(update, one.own.adapter, blueprint))
    finally:
        for name, site in attached.sites.items():
            replace(base.model, name, site.frozen)
