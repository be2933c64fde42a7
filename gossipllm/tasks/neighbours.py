"""A neighbour's adapter as a peer received it, made whole so that it can be measured.

What it does not offer (the blocks or heads of others) stays as in the peer's own adapter, and another rank becomes the
best approximation that the peer's own allows: just what the peer measures when it weighs that neighbour.
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
    """`own` is the state of the peer that received `update`, and `config` that peer's. `name` is fit for a terminal."""

    name: str
    peer: str
    update: Content
    own: Snapshot
    config: LearnerConfig


def laid_over(base: Base, one: NeighbourAdapter) -> Snapshot:
    """A state like the peer's own, with the neighbour's adapter. Leaves the base as it was.

    Raises `WireError` where the update is none by the configuration as it is now, and `UserMistake` where that asks
    for what the base does not have.
    """
    attached = attach(base.model, one.config.adapter)
    try:
        blueprint = attached.blueprint(one.config.adapter)
        if 1 <= one.own.header.rank < blueprint.rank:
            # Pruned since.
            blueprint = blueprint.narrowed(one.own.header.rank)
        shapes = {spec.name: spec.shape for spec in blueprint.layout.tensors}
        if shapes != {name: value.shape for name, value in one.own.adapter.items()}:
            raise WireError("update", "peer.toml describes another adapter than at the last merge")
        update = UpdateFormat(blueprint, one.config.mixing).decoded(one.update.data)
        return dataclasses.replace(one.own, adapter=completed(update, one.own.adapter, blueprint))
    finally:
        for name, site in attached.sites.items():
            replace(base.model, name, site.frozen)
