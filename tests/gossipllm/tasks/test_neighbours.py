"""Tests of a neighbour's adapter as it is evaluated: the received units laid over the peer's own adapter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack, cast

import numpy as np
import pytest
import torch

from gossipllm.config import LearnerConfig
from gossipllm.config.choices import Train
from gossipllm.learning.merging.updates import UpdateFormat
from gossipllm.model.adapter.placement import attach
from gossipllm.model.adapter.snapshots import Snapshot
from gossipllm.model.blocks import replace
from gossipllm.model.loading.models import Base
from gossipllm.tasks.neighbours import NeighbourAdapter, laid_over
from support.adapters import AdapterOptions, adapter_config
from wire.digest import Content
from wire.errors import WireError

TOKENS = torch.tensor([[5, 6, 7, 8, 9]])

Bases = Callable[..., Base]
Saves = Callable[..., Snapshot]


def config(**adapter: Unpack[AdapterOptions]) -> LearnerConfig:
    """The configuration of the adapters of the `saved` fixture."""
    return LearnerConfig(adapter=adapter_config(**adapter))


def sent(base: Base, snapshot: Snapshot, form: LearnerConfig, units: slice = slice(None)) -> Content:
    """The update that neighbours receive from the peer with this snapshot, with all units or some of them."""
    attached = attach(base.model, form.adapter)
    blueprint = attached.blueprint(form.adapter)
    data = UpdateFormat(blueprint, form.mixing).encoded(
        snapshot.adapter, snapshot.adapter, blueprint.own[units]
    )
    for name, site in attached.sites.items():
        replace(base.model, name, site.frozen)
    return Content.of(data)


def logits(base: Base) -> torch.Tensor:
    with torch.inference_mode():
        return cast("Any", base.model)(input_ids=TOKENS).logits.clone()


@pytest.mark.parametrize("train", ["both", "full", "bias"])
def test_a_whole_update_is_the_neighbours_adapter(base: Bases, saved: Saves, train: Train) -> None:
    model = base("gpt2")
    own, theirs = saved(model, train), saved(model, train, seed=1)
    before = logits(model)
    form = config(train=train)

    found = laid_over(model, NeighbourAdapter("bert", "id-b", sent(model, theirs, form), own, form))

    assert found.header == own.header
    for name, value in theirs.adapter.items():
        # To the wire's type and back.
        np.testing.assert_allclose(found.adapter[name], value, rtol=2e-2, atol=2e-3)
    assert torch.equal(logits(model), before)


def test_what_a_neighbour_does_not_offer_is_the_peers_own(base: Bases, saved: Saves) -> None:
    model = base()
    own, theirs = saved(model), saved(model, seed=1)
    form = config()

    found = laid_over(model, NeighbourAdapter("bert", "id-b", sent(model, theirs, form, slice(3)), own, form))

    kept = [name for name, value in own.adapter.items() if np.array_equal(found.adapter[name], value)]
    assert len(kept) == len(own.adapter) - 6, "three units, of two factors each"


def test_an_update_of_another_kind_is_refused_and_leaves_the_base(base: Bases, saved: Saves) -> None:
    model = base()
    own, form = saved(model), config()
    before = logits(model)

    with pytest.raises(WireError):
        laid_over(model, NeighbourAdapter("bert", "id-b", Content.of(b"nothing"), own, form))
    with pytest.raises(WireError, match=r"peer\.toml describes another adapter"):
        laid_over(
            model, NeighbourAdapter("bert", "id-b", sent(model, own, form), own, config(modules=("q_proj",)))
        )
    assert torch.equal(logits(model), before)
