"""Benches and remote peers for scripts of the core."""

from __future__ import annotations

import pytest

from support.core_bench import Bench, RemotePeer


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
