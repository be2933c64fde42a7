"""Homes whose rounds are quick, and peers that run in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.processes import PeerProcess, all_done, copy_of, make_home

StartPeer = Callable[..., PeerProcess]


@pytest.fixture
def run() -> Iterator[StartPeer]:
    """Starts a peer; every peer is stopped at the end of the test."""
    started: list[PeerProcess] = []

    def start(home: Path, *arguments: str) -> PeerProcess:
        started.append(PeerProcess(home, *arguments))
        return started[-1]

    yield start
    for peer in started:
        peer.kill()


@pytest.fixture(scope="session")
def _new_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("new") / "home")


@pytest.fixture(scope="session")
def _trained_home(tmp_path_factory: pytest.TempPathFactory, _new_home: Path) -> Path:
    """The home of a peer that has done its two rounds and was stopped."""
    home = copy_of(_new_home, tmp_path_factory.mktemp("trained") / "home")
    peer = PeerProcess(home, "--rounds", "2")
    try:
        peer.until(all_done)
        assert peer.stop() == 0
    finally:
        peer.kill()
    return home


@pytest.fixture
def home(tmp_path: Path, _new_home: Path) -> Path:
    """A home whose rounds are quick, before its first."""
    return copy_of(_new_home, tmp_path / "home")


@pytest.fixture
def trained_home(tmp_path: Path, _trained_home: Path) -> Path:
    """A home whose peer has done two rounds and was stopped."""
    return copy_of(_trained_home, tmp_path / "home")
