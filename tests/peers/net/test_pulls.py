"""Blobs over real streams: sources that die, lie, dawdle or are busy."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol

from peers.net import host_life
from peers.net.host import PullFailed
from peers.net.streams import blob_server
from peers.net.streams.framing import read_exactly
from support.live_networks import Together
from wire.messages import BLOB_PROTOCOL
from wire.pull import (
    REQUEST_BYTES,
    PullResponse,
    PullStatus,
    decode_pull_request,
    encode_pull_response,
)

DATA = os.urandom(4_000_000)
Serve = Callable[[INetStream, int], Awaitable[None]]


def serve_instead(member: Any, serve: Serve) -> None:
    """Replace this member's blob server. `serve` gets the stream and the offset asked for."""

    async def handler(stream: INetStream) -> None:
        request = decode_pull_request(await read_exactly(stream, REQUEST_BYTES))
        with suppress(Exception):
            await serve(stream, request.offset)

    member.network._life._host.set_stream_handler(TProtocol(BLOB_PROTOCOL), handler)


async def found(stream: INetStream) -> None:
    await stream.write(encode_pull_response(PullResponse(PullStatus.FOUND, len(DATA))))


async def die_half_way(stream: INetStream, offset: int) -> None:
    await found(stream)
    await stream.write(DATA[offset : len(DATA) // 2])
    await stream.close()  # A reset would take back what is under way.


async def give_wrong_half(stream: INetStream, offset: int) -> None:
    await found(stream)
    await stream.write(bytes(1_000_000))
    await stream.close()


async def test_four_megabytes(real: Together) -> None:
    with trio.fail_after(20):
        async with real(2) as (asker, holder):
            digest = holder.peer.keep(DATA)
            assert await asker.network.pull(digest, len(DATA), (holder.id,)) == DATA


async def test_what_one_source_began_the_next_continues(real: Together) -> None:
    with trio.fail_after(20):
        async with real(3) as (asker, dying, holder):
            digest = holder.peer.keep(DATA)
            serve_instead(dying, die_half_way)
            assert await asker.network.pull(digest, len(DATA), (dying.id, holder.id)) == DATA
            assert asker.peer.faults == []
            assert holder.network.traffic().sent["blob"] == len(DATA) // 2


async def test_a_source_that_vanishes_with_its_connection(real: Together) -> None:
    with trio.fail_after(20):
        async with real(3) as (asker, dying, holder):
            digest = holder.peer.keep(DATA)

            async def vanish(stream: INetStream, offset: int) -> None:
                await found(stream)
                await stream.write(DATA[:100_000])
                dying.network._life._transport.abort_all()

            serve_instead(dying, vanish)
            assert await asker.network.pull(digest, len(DATA), (dying.id, holder.id)) == DATA


async def test_of_two_givers_of_a_wrong_blob_the_guilty_one_is_found(real: Together) -> None:
    with trio.fail_after(20):
        async with real(3) as (asker, liar, holder):
            digest = holder.peer.keep(DATA)
            serve_instead(liar, give_wrong_half)
            assert await asker.network.pull(digest, len(DATA), (liar.id, holder.id)) == DATA
            assert holder.id not in {who for who, _, _, _ in asker.peer.faults}


async def test_a_liar_alone(real: Together) -> None:
    with trio.fail_after(20):
        async with real(2) as (asker, liar):
            digest = liar.peer.keep(DATA)
            liar.peer.blobs[digest] = bytes(len(DATA))
            with pytest.raises(PullFailed, match="wrong bytes"):
                await asker.network.pull(digest, len(DATA), (liar.id,))
            assert [(field, fine) for _, field, _, fine in asker.peer.faults] == [("blob.sha", -50.0)]


async def test_who_dawdles_is_left_for_the_next(real: Together) -> None:
    with trio.fail_after(20):
        async with real(3) as (asker, slow, holder):
            asker.network._life._puller._grace_s = 0.2
            digest = holder.peer.keep(DATA)

            async def dawdle(stream: INetStream, offset: int) -> None:
                await found(stream)
                await stream.write(DATA[offset : offset + 10])
                await trio.sleep_forever()

            serve_instead(slow, dawdle)
            assert await asker.network.pull(digest, len(DATA), (slow.id, holder.id)) == DATA
            assert [(who, field, fine) for who, field, _, fine in asker.peer.faults] == [
                (slow.id, "blob.rate", -5.0)
            ]


async def test_a_busy_server_is_asked_again(real: Together, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob_server, "SERVES", 1)
    with trio.fail_after(20):
        async with real(4) as (holder, *askers):
            digest = holder.peer.keep(DATA)
            got: list[bytes] = []

            async def pull(asker: Any) -> None:
                got.append(await asker.network.pull(digest, len(DATA), (holder.id,)))

            async with trio.open_nursery() as nursery:
                for asker in askers:
                    nursery.start_soon(pull, asker)
            assert got == [DATA] * 3
            assert all(asker.peer.faults == [] for asker in askers)


async def test_too_many_bytes_a_second_come_later_without_an_error(
    real: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_life, "UPLOAD_BURST_BYTES", 262_144)
    with trio.fail_after(20):
        async with real(2, upload_bytes_s=8e6) as (asker, holder):
            digest = holder.peer.keep(DATA)
            began = trio.current_time()
            assert await asker.network.pull(digest, len(DATA), (holder.id,)) == DATA
            assert trio.current_time() - began > (len(DATA) - 2 * 262_144) / 8e6


async def test_a_size_that_we_refuse_to_hold(real: Together) -> None:
    with trio.fail_after(20):
        async with real(1, max_blob_bytes=1000) as (alone,):
            with pytest.raises(PullFailed, match=r"has 1001 bytes, network\.max_blob_bytes is 1000"):
                await alone.network.pull(bytes(32), 1001, ())


async def test_a_cancelled_pull_costs_nobody_the_connection(real: Together) -> None:
    with trio.fail_after(20):
        async with real(2) as (asker, holder):
            digest = holder.peer.keep(DATA)
            for moment_s in (0, 0.002, 0.004, 0.008, 0.012, 0.02, 0.03):
                with trio.move_on_after(moment_s):
                    await asker.network.pull(digest, len(DATA), (holder.id,))
            assert await asker.network.pull(digest, len(DATA), (holder.id,)) == DATA
            assert asker.peer.ups_and_downs == [("up", holder.id)]
            assert not asker.network._life._puller._of_peer
