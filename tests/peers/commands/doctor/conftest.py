"""A peer's home, with a state and a history."""

from __future__ import annotations

from pathlib import Path

import pytest

from gossipllm.config import DataConfig, ModelConfig
from peers.core.saved import beginning
from peers.home.config import PeerConfig
from peers.home.folder import Home
from peers.home.settings import write_config
from peers.home.store import StateStore
from peers.identity import Identity
from peers.net.config import NetworkConfig
from sim.toy.learner import fingerprints


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "anna")
    made.folder.mkdir(mode=0o700)
    Identity.generate().save(made.identity)
    config = PeerConfig(
        data=DataConfig(path="notes.txt"),
        model=ModelConfig(device="cpu", dtype="float32", threads=1),
        network=NetworkConfig(listen="/ip4/127.0.0.1/tcp/0"),
    )
    write_config(made.config, config)
    StateStore(made.state).save(beginning(fingerprints()))
    return made
