"""A peer killed at random, watched by an honest stranger: it never says two things about one round."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from gossipllm.base import corpus_file
from gossipllm.config import DataConfig, ModelConfig, TrainingConfig
from peers.core.config import RoundConfig
from peers.home.config import PeerConfig
from peers.home.folder import Home
from peers.home.settings import write_config
from peers.identity import Identity
from peers.net.config import NetworkConfig
from peers.net.libp2p_host import open_network
from support.networks import RecordingPeer, wait_until
from wire.codec import decode_announcement

KILLS = 5


@pytest.mark.battery
async def test_a_peer_killed_again_and_again_never_announces_two_states_of_one_round(
    tmp_path: Path,
) -> None:
    home = _home(tmp_path / "home")
    observer = RecordingPeer(reply=lambda greeting: None)
    rng = random.Random(7)
    settings = NetworkConfig(listen="/ip4/127.0.0.1/tcp/0")
    async with open_network(Identity.generate(), observer, settings) as network:
        for _ in range(KILLS):
            before = len(_rounds(observer))
            process = _start(home, network.addresses[0])
            try:
                await wait_until(lambda: len(_rounds(observer)) > before, within_s=90)  # noqa: B023
                # Anywhere in the round that follows.
                await trio.sleep(rng.random() * 0.5)
            finally:
                process.kill()
                process.wait(20)

    announced = _rounds(observer)
    assert len(announced) >= KILLS
    assert all(len(digests) == 1 for digests in announced.values())
    assert list(announced) == sorted(announced)


def _rounds(observer: Any) -> dict[int, set[bytes]]:
    """Round -> digests of the announcements heard of it, in the order first heard."""
    rounds: dict[int, set[bytes]] = {}
    for data in observer.frames():
        frame = decode_announcement(data)
        rounds.setdefault(frame.announcement.round, set()).add(frame.digest)
    return rounds


def _home(folder: Path) -> Home:
    home = Home(folder)
    folder.mkdir(mode=0o700)
    Identity.generate().save(home.identity)
    config = PeerConfig(
        network=NetworkConfig(listen="/ip4/127.0.0.1/tcp/0"),
        round=RoundConfig(steps=1, patience_s=0.2),
        model=ModelConfig(threads=1),
        data=DataConfig(path=str(corpus_file("fr")), window_tokens=16, trust_windows=2, test_windows=2),
        training=TrainingConfig(batch_windows=1),
    )
    write_config(home.config, config)
    return home


def _start(home: Home, join: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gossipllm.cli", "run", str(home.folder), "--join", join]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
