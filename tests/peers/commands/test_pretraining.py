"""Peers that pre-train a model, as processes of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from gossipllm.base import corpus_file
from gossipllm.config import AdapterConfig, DataConfig, ModelConfig, TrainingConfig
from gossipllm.model.adapter.snapshots import Snapshot, decode_snapshot
from gossipllm.model.fresh.shape import BaseShape
from gossipllm.model.fresh.writing import write_base
from gossipllm.model.loading.models import load_tokenizer
from peers.core.config import RoundConfig
from peers.home.config import MergeConfig, PeerConfig, SelfConfig
from peers.home.folder import Home
from peers.home.settings import write_config
from peers.home.store import StateStore
from peers.identity import Identity
from peers.net.config import NetworkConfig
from support.processes import LISTEN, PeerProcess, is_round, takes_from

SHAPE = BaseShape(hidden=16, layers=1, heads=2, window=128)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("random") / "base"
    write_base(SHAPE, load_tokenizer("embedded-1024", "model.name"), folder, trained=False)
    return folder


def new_home(folder: Path, base: Path, text: str) -> Path:
    home = Home(folder)
    folder.mkdir(mode=0o700)
    Identity.generate().save(home.identity)
    config = PeerConfig(
        peer=SelfConfig(name=folder.name),
        network=NetworkConfig(listen=LISTEN, packing="tight"),
        round=RoundConfig(steps=2, patience_s=1.0, guard=False),
        model=ModelConfig(name=str(base), device="cpu", threads=1),
        adapter=AdapterConfig(train="all"),
        merge=MergeConfig(rule="mean", outer="nesterov"),
        data=DataConfig(path=str(corpus_file(text)), window_tokens=16, trust_windows=2, test_windows=2),
        training=TrainingConfig(batch_windows=1, order="once"),
    )
    write_config(home.config, config)
    return folder


def snapshot_of(home: Path) -> Snapshot:
    saved = StateStore(home / "state").load().saved
    assert saved is not None
    assert saved.snapshot is not None
    return decode_snapshot(saved.snapshot.data)


def digest_of_momentum(snapshot: Snapshot) -> str:
    parts = (snapshot.outer[name].tobytes() for name in sorted(snapshot.outer))
    return hashlib.sha256(b"".join(parts)).hexdigest()


@pytest.mark.battery
def test_a_killed_peer_goes_on_with_its_outer_momentum_its_moments_and_what_it_announced(
    base: Path, run: Callable[..., PeerProcess], tmp_path: Path
) -> None:
    """Alone after the restart, because a round without a merge leaves the momentum as it is."""
    ada, bruno = (new_home(tmp_path / name, base, text) for name, text in (("ada", "fr"), ("bruno", "de")))
    first = run(ada)
    address = first.until(lambda event: event["event"] == "listening")["addresses"][0]
    other = run(bruno, "--join", address)
    merged = first.until(takes_from("bruno"))
    first.until(lambda event: event["event"] == "progress" and event["phase"] == "training")
    for peer in (first, other):
        peer.process.kill()
        peer.process.wait(20)
    before = snapshot_of(ada)

    again = run(ada)
    again.until(is_round(merged["round"] + 2))
    assert again.stop() == 0
    after = snapshot_of(ada)

    assert before.header.moved_round >= merged["round"]
    assert any(value.any() for value in before.outer.values())
    assert digest_of_momentum(after) == digest_of_momentum(before)
    assert after.header.moved_round == before.header.moved_round
    assert after.header.steps >= before.header.steps + 2
    assert before.announced
    assert after.announced not in (b"", before.announced)
