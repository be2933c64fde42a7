"""A live neighbour that lies about addresses: whom it makes others dial, and how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from peers.identity import Identity
from peers.net.finding import dialler
from peers.net.libp2p_host import open_network
from peers.net.stack.connections import Connections
from support.live_networks import Together, quick
from support.networks import RecordingPeer, wait_until

WATCHED_S = 4.0


def stranger() -> str:
    return Identity.generate().peer_id


LIES: dict[str, Callable[[int], list[str]]] = {
    "many peers at one victim": lambda port: [
        f"/ip4/127.0.0.1/tcp/{port}/p2p/{stranger()}" for _ in range(30)
    ],
    "one peer at many ports": lambda port: [
        f"/ip4/127.0.0.1/tcp/{port + number}/p2p/{MALLORY}" for number in range(30)
    ],
    "a scan of this network": lambda port: [
        f"/ip4/127.0.0.{number}/tcp/{port}/p2p/{stranger()}" for number in range(2, 30)
    ],
    "what nobody dials": lambda port: [
        f"/ip4/{host}/tcp/{port}/p2p/{stranger()}"
        for host in ("169.254.169.254", "224.0.0.1", "255.255.255.255")
    ],
}
MALLORY = stranger()


@pytest.mark.parametrize("lie", LIES)
async def test_a_liar_causes_at_most_eight_dials_and_nothing_of_it_is_saved(
    lie: str, real: Together, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(dialler, "REDIAL_S", 0.05)
    monkeypatch.setattr(dialler, "LAST_ASK_S", 0.05)
    dials: Counter[tuple[Connections, str]] = Counter()
    dial = Connections.dial

    async def counted(self: Connections, transport: str, peer: str) -> None:
        dials[self, transport] += 1
        await dial(self, transport, peer)

    def invent(*_: object) -> list[str]:
        return LIES[lie](port)

    async with real(2) as (honest, liar), trio.open_nursery() as nursery:
        decoy = await nursery.start(trio.serve_tcp, _hang_up, 0)
        port = decoy[0].socket.getsockname()[1]
        monkeypatch.setattr(liar.network._life._dialler, "offer", invent)
        monkeypatch.setattr(Connections, "dial", counted)
        peer = RecordingPeer()
        join = liar.network.addresses
        async with open_network(
            Identity.generate(), peer, quick(join=join), book=tmp_path / "book"
        ) as victim:
            await wait_until(lambda: liar.id in victim.neighbours())
            await trio.sleep(WATCHED_S)
            assert victim._life is not None
            told = {liar.network.addresses[0], honest.network.addresses[0]}
            lies = sum(
                count
                for (dialler_, at), count in dials.items()
                if dialler_ is victim._life._connections and not any(true.startswith(at) for true in told)
            )
            assert lies <= (0 if lie == "what nobody dials" else 8)
            await honest.network.publish(b"still here")
            await wait_until(lambda: b"still here" in peer.frames())
            victim._book.save()
        saved = (tmp_path / "book").read_text()
        assert liar.id in saved
        assert MALLORY not in saved
        assert saved.count("/ip4/") <= 2
        nursery.cancel_scope.cancel()


async def _hang_up(stream: Any) -> None:
    await stream.aclose()
