"""A home over the embedded base whose peer has learned something, and a screen that remembers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from gossipllm.config import AdapterConfig, DataConfig, ModelConfig
from gossipllm.model.adapter.placement import attach
from gossipllm.model.adapter.snapshots import Snapshot, SnapshotHeader, encode_snapshot
from gossipllm.model.loading.models import Base, base_fingerprint, load_base
from peers.core.saved import beginning
from peers.home.config import PeerConfig
from peers.home.folder import Home
from peers.home.settings import write_config
from peers.home.store import StateStore
from peers.identity import Identity
from sim.toy.learner import fingerprints
from support.screens import RememberingScreen
from wire.digest import Content

EMBEDDED = ModelConfig(device="cpu", dtype="float32", threads=1)


@pytest.fixture
def screen() -> RememberingScreen:
    return RememberingScreen()


@pytest.fixture(scope="session")
def base() -> Base:
    return load_base(EMBEDDED)


@pytest.fixture(scope="session")
def learned() -> Callable[[AdapterConfig], bytes]:
    """A state of an adapter so configured that changes what the embedded base says."""

    def make(config: AdapterConfig) -> bytes:
        base = load_base(EMBEDDED)
        name = base_fingerprint(base.model)
        blueprint = attach(base.model, config).blueprint(config)
        draws = np.random.default_rng(0)
        state = {
            spec.name: draws.normal(0, 0.3, spec.shape).astype(np.float32)
            for spec in blueprint.layout.tensors
        }
        header = SnapshotHeader(
            base=name,
            tokenizer=b"",
            layout=b"",
            model_name="embedded",
            rank=blueprint.rank,
            alpha=config.alpha,
            train=config.train,
            fan_in_fan_out=blueprint.fan_in_fan_out,
            round=1,
            steps=1,
        )
        return encode_snapshot(Snapshot(header, state, {}, {}, {}))

    return make


@pytest.fixture
def new_home(tmp_path: Path) -> Callable[[bytes | None], Home]:
    """The home of a peer that has saved this state, or none yet."""

    def make(snapshot: bytes | None) -> Home:
        home = Home(tmp_path / "anna")
        home.folder.mkdir(mode=0o700)
        Identity.generate().save(home.identity)
        write_config(home.config, PeerConfig(data=DataConfig(path="notes.txt"), model=EMBEDDED))
        if snapshot is not None:
            saved = msgspec.structs.replace(
                beginning(fingerprints()), generation=1, snapshot=Content.of(snapshot)
            )
            StateStore(home.state).save(saved)
        return home

    return make
