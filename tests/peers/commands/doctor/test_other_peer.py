"""Calling a peer: a live one on loopback, one that sends nonsense, one that says nothing, and nobody."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest
import trio

from peers.commands.doctor.findings import Finding
from peers.commands.doctor.other_peer import compared, reach
from peers.identity import Identity
from peers.net.config import NetworkConfig
from peers.net.host import Unreachable
from peers.net.libp2p_host import Libp2pNetwork, open_network
from support.networks import RecordingPeer, wait_until
from wire.codec import encode_greeting
from wire.digest import fingerprint_of
from wire.messages import KNOWN_PROTOCOL, Fingerprints, Greeting, network_id

OURS = Fingerprints(base=b"b" * 32, tokenizer=b"t" * 32, reference=b"r" * 32, layout=b"l" * 32)
GREETING = Greeting(v=1, net=network_id("lab", OURS.reference), fingerprints=OURS, latest=())


@pytest.fixture
def serving() -> Callable[..., Any]:
    """A peer that greets whoever connects with these bytes, as a real one does; with None it says nothing."""

    @asynccontextmanager
    async def serve(data: bytes | None) -> AsyncGenerator[tuple[Libp2pNetwork, RecordingPeer], None]:
        config, peer = NetworkConfig(listen="/ip4/127.0.0.1/tcp/0"), RecordingPeer()

        async def greet(network: Libp2pNetwork) -> None:
            await wait_until(lambda: bool(network.neighbours()), within_s=20)
            with suppress(Unreachable):
                if data is not None:
                    await network.greet(network.neighbours()[0], data)

        async with (
            open_network(Identity.generate(), peer, config) as network,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(greet, network)
            yield network, peer
            nursery.cancel_scope.cancel()

    return serve


async def called(address: str, *, deadline_s: float = 10.0) -> tuple[Greeting | None, list[Finding]]:
    findings: list[Finding] = []

    def reached() -> Greeting | None:
        reaching = reach(address, Identity.generate(), deadline_s=deadline_s)
        while True:
            try:
                findings.append(next(reaching))
            except StopIteration as end:
                return end.value

    with trio.fail_after(30):
        theirs = await trio.to_thread.run_sync(reached)
    return theirs, findings


def levels(findings: list[Finding]) -> dict[str, str]:
    return {one.what: one.level for one in findings}


async def test_a_live_peer_says_of_which_network_it_is(serving: Callable[..., Any]) -> None:
    async with serving(encode_greeting(GREETING)) as (network, peer):
        theirs, findings = await called(network.addresses[0])

        assert levels(findings) == {"connection": "ok", "handshake": "ok", "network": "ok"}
        assert theirs == GREETING
        assert network.peer_id in findings[1].value
        assert not peer.faults  # nor did the call cost anything there


@pytest.mark.parametrize(
    "nonsense",
    [b"", b"\xff" * 100, b"\x1b[2J", msgspec.msgpack.encode({"v": 9})],
    ids=["empty", "garbage", "terminal escapes", "a later version"],
)
async def test_nonsense_is_one_failure(serving: Callable[..., Any], nonsense: bytes) -> None:
    async with serving(nonsense) as (network, _):
        theirs, findings = await called(network.addresses[0])

    assert levels(findings) == {"connection": "ok", "handshake": "ok", "greeting": "fail"}
    assert theirs is None
    assert findings[-1].value.isprintable()


async def test_a_greeting_of_four_gigabytes_is_one_failure(serving: Callable[..., Any]) -> None:
    async with serving(None) as (network, _), trio.open_nursery() as nursery:

        async def lie() -> None:
            await wait_until(lambda: bool(network.neighbours()), within_s=20)
            life: Any = network._life
            stream = await life._streams.open(network.neighbours()[0], KNOWN_PROTOCOL)
            await stream.write(b"\xff" * 4)

        nursery.start_soon(lie)
        _, findings = await called(network.addresses[0])
        nursery.cancel_scope.cancel()

    assert levels(findings)["greeting"] == "fail"
    assert "greeting.length" in findings[-1].value


async def test_a_peer_that_is_still_loading_is_no_failure(
    serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peers.commands.doctor.call.GREETING_S", 0.5)
    async with serving(None) as (network, _):
        _, findings = await called(network.addresses[0])

    assert levels(findings)["greeting"] == "warn"


async def test_another_key_at_that_address_is_told(serving: Callable[..., Any]) -> None:
    async with serving(None) as (network, _):
        transport = network.addresses[0].partition("/p2p/")[0]
        _, findings = await called(f"{transport}/p2p/{Identity.generate().peer_id}")

    assert levels(findings) == {"connection": "ok", "handshake": "fail"}
    assert findings[-1].value == "another peer answers there"


async def test_something_else_that_listens_ends_with_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        address = f"/ip4/127.0.0.1/tcp/{port}/p2p/{Identity.generate().peer_id}"

        _, findings = await called(address, deadline_s=1.0)

    assert levels(findings) == {"connection": "ok", "handshake": "fail"}


async def test_nobody_there_is_told_apart_from_a_bad_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    _, nobody = await called(f"/ip4/127.0.0.1/tcp/{port}/p2p/{Identity.generate().peer_id}")
    _, bad = await called("/ip4/127.0.0.1/tcp/x")

    assert levels(nobody) == {"connection": "fail"}
    assert "nothing listens" in nobody[0].value
    assert levels(bad) == {"address": "fail"}


def test_one_network_fits() -> None:
    assert [one.level for one in compared(GREETING, OURS, "lab")] == ["ok"]


def test_another_base_is_no_failure_and_each_difference_comes_with_its_cure() -> None:
    theirs = msgspec.structs.replace(OURS, base=b"x" * 32, layout=b"y" * 32)
    other = msgspec.structs.replace(GREETING, fingerprints=theirs, net=network_id("lab", theirs.reference))

    found = list(compared(other, OURS, "lab"))

    assert [(one.level, one.what) for one in found] == [("ok", "fits"), ("warn", "base"), ("warn", "layout")]
    assert all(one.cure for one in found[1:])


def test_another_name_of_the_network_is_told_by_itself() -> None:
    (found,) = compared(GREETING, OURS, "home")

    assert (found.level, found.what) == ("fail", "net")


def test_another_reference_set_is_another_network() -> None:
    theirs = msgspec.structs.replace(OURS, reference=b"x" * 32)
    other = msgspec.structs.replace(GREETING, fingerprints=theirs, net=network_id("lab", theirs.reference))

    (found,) = compared(other, OURS, "lab")

    assert (found.level, found.what) == ("fail", "reference")


def test_an_older_version_is_told_with_which_of_the_two_it_is() -> None:
    parts = (b"lab", OURS.base, OURS.tokenizer, OURS.reference, OURS.layout)
    older = msgspec.structs.replace(GREETING, net=fingerprint_of("gossipllm/2", parts))

    (found,) = compared(older, OURS, "lab")

    assert (found.level, found.what) == ("fail", "version")
    assert found.value == "theirs speaks protocol 2, ours 3; theirs is older"
    assert "update gossipllm where it is older" in found.cure
