"""Networks to test on, fake and real, and a scene for an attacker."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import pytest

from peers.net.finding import dialler
from peers.net.gossip import pubsub, router
from peers.net.streams import requests
from support.attacker import attacker_on
from support.live_networks import Together, fake_networks, real_networks
from support.networks import Hub, wait_until


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines and pauses that a test can wait for."""
    monkeypatch.setattr(dialler, "REDIAL_S", 0.3)
    monkeypatch.setattr(router, "HEARTBEAT_S", 0.3)
    monkeypatch.setattr(pubsub, "FRAME_DEADLINE_S", 2.0)


@pytest.fixture
def real() -> Together:
    return real_networks


@pytest.fixture
def fake(hub: Hub) -> Together:
    return partial(fake_networks, hub)


@pytest.fixture(params=["fake", "real"])
def together(request: pytest.FixtureRequest) -> Together:
    """Each implementation of `Network` in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
async def scene(
    real: Together,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """Victim, honest peer and attacker; the call at the end asserts that the honest one is still heard,
    that nobody else was fined, and that nothing was logged by the library at a stranger's bidding."""
    monkeypatch.setattr(pubsub, "FRAME_DEADLINE_S", 0.3)
    monkeypatch.setattr(requests, "ANSWER_DEADLINE_S", 0.5)
    async with real(2) as (victim, honest):
        victim.peer.blobs[bytes(32)] = b"three"
        async with attacker_on(victim) as attacker:

            async def still_works() -> None:
                frame = b"honest " + os.urandom(4)
                await honest.network.publish(frame)
                await wait_until(lambda: frame in victim.peer.frames())
                back = b"answer " + os.urandom(4)
                await victim.network.publish(back)
                await wait_until(lambda: back in honest.peer.frames())
                assert [fault for fault in victim.peer.faults if fault[0] == honest.id] == []
                assert honest.peer.faults == []
                assert [record for record in caplog.records if record.name.startswith("libp2p")] == []

            yield victim, attacker, still_works
