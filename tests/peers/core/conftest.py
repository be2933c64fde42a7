"""Benches and remote peers for scripts of the core."""

from __future__ import annotations

import pytest

from peers.core.core import Core
from support.core_bench import Bench, RemotePeer, update_of
from support.transitions import handle_checked


@pytest.fixture(autouse=True)
def _steps_held_against_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step of every test of the core is one that the table of stages has."""
    monkeypatch.setattr(Core, "handle", handle_checked)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def open_bench(bench: Bench) -> Bench:
    """A bench whose learner is open and asked to train."""
    bench.start()
    return bench


@pytest.fixture
def alice() -> RemotePeer:
    return RemotePeer("alice")


@pytest.fixture
def bob() -> RemotePeer:
    return RemotePeer("bob")


@pytest.fixture
def kin() -> RemotePeer:
    return RemotePeer("kin")


@pytest.fixture
def stranger() -> RemotePeer:
    """A peer of another base. Its evidence has the network's size, its update any."""
    return RemotePeer("stranger", update=update_of([0.0, 9.0, 0.0, 0.0]))
