"""What a stranger can send, against a live host; afterwards an honest peer's announcement must arrive.

Each attack opens streams of its own. What it must cost is stated beside it: the field named and the fine.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from libp2p.pubsub.pb import rpc_pb2
from libp2p.utils import encode_uvarint

from peers.identity import Identity
from peers.net.host import Verdict
from support.networks import wait_until
from wire.messages import ANNOUNCE_TOPIC, BLOB_PROTOCOL, KNOWN_PROTOCOL

MESHSUB = "/meshsub/1.1.0"
Attack = Callable[[Any], Awaitable[Any]]

FINED: dict[str, tuple[Attack, str, float]] = {
    "garbage instead of protobuf": (lambda a: a.send(a.framed(b"\xff" * 50)), "frame.protobuf", -10),
    "a length of two megabytes": (lambda a: a.send(encode_uvarint(2**21)), "frame.length", -25),
    "a length of a terabyte": (lambda a: a.send(encode_uvarint(2**40)), "frame.length", -25),
    "a varint of twelve bytes": (lambda a: a.send(b"\xff" * 12), "frame.length", -25),
    "a frame that never ends": (lambda a: a.send(encode_uvarint(60_000) + b"x" * 812), "frame.deadline", -10),
    "a forged signature": (lambda a: a.publish(a.message(signature=b"\1" * 64)), "message.signature", -25),
    "no signature": (lambda a: a.publish(a.message(signature=b"")), "message.signature", -25),
    "a signature that is too short": (
        lambda a: a.publish(a.message(signature=b"\1" * 7)),
        "message.signature",
        -25,
    ),
    "changed data": (
        lambda a: a.publish(a.message(data=b"a"), a.message(data=b"b", signature=b"")),
        "message.signature",
        -25,
    ),
    "an origin that is no key, with a garbage key": (
        lambda a: a.publish(a.message(from_id=b"\x12\x20" + b"z" * 32, key=b"\xff" * 40)),
        "message.from",
        -10,
    ),
    "an origin of sixty kilobytes": (
        lambda a: a.publish(a.message(from_id=b"z" * 60_000)),
        "message.from",
        -10,
    ),
    "an empty origin": (lambda a: a.publish(a.message(from_id=b"")), "message.from", -10),
    "a key that is no point": (
        lambda a: a.publish(a.message(from_id=bytes.fromhex("002408011220") + b"\xff" * 32)),
        "message.signature",
        -25,
    ),
    "a number of three bytes": (lambda a: a.publish(a.message(seqno=b"abc")), "message.seqno", -10),
    "another topic": (lambda a: a.publish(a.message(topicIDs=["weather"])), "message.topic", -5),
    "two topics": (lambda a: a.publish(a.message(topicIDs=[ANNOUNCE_TOPIC, "weather"])), "message.topic", -5),
    "two thousand invented topics pruned": (
        lambda a: a.send(a.control(prune=[rpc_pb2.ControlPrune(topicID=f"t{i}") for i in range(2000)])),
        "control.count",
        -5,
    ),
    "an invented topic grafted": (
        lambda a: a.send(a.control(graft=[rpc_pb2.ControlGraft(topicID="x")])),
        "control.topic",
        -5,
    ),
    "a thousand offers": (
        lambda a: a.send(
            a.control(ihave=[rpc_pb2.ControlIHave(topicID=ANNOUNCE_TOPIC, messageIDs=[b"m"])] * 1000)
        ),
        "control.count",
        -5,
    ),
    "an offer of a thousand ids": (
        lambda a: a.send(
            a.control(
                ihave=[
                    rpc_pb2.ControlIHave(topicID=ANNOUNCE_TOPIC, messageIDs=[b"m%d" % i for i in range(1000)])
                ]
            )
        ),
        "control.count",
        -5,
    ),
    "a thousand wishes": (
        lambda a: a.send(
            a.control(iwant=[rpc_pb2.ControlIWant(messageIDs=[b"m%d" % i for i in range(1000)])])
        ),
        "control.count",
        -5,
    ),
    "four thousand subscriptions": (
        lambda a: a.send(
            rpc_pb2.RPC(
                subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid=f"t{i}") for i in range(4000)]
            )
        ),
        "control.count",
        -5,
    ),
    "a thousand empty messages": (
        lambda a: a.send(rpc_pb2.RPC(publish=[rpc_pb2.Message(topicIDs=[ANNOUNCE_TOPIC])] * 1000)),
        "control.count",
        -5,
    ),
    "a greeting of four gigabytes": (
        lambda a: a.send(b"\xff" * 4, protocol=KNOWN_PROTOCOL),
        "greeting.length",
        -25,
    ),
    "a blob from beyond its end": (
        lambda a: a.send(b"\0" * 32 + b"\xff" * 8, protocol=BLOB_PROTOCOL),
        "pull.offset",
        -10,
    ),
    "addresses of sixty kilobytes": (
        lambda a: a.send(b"\xff" * 2 + b"x" * 65_535, protocol="/gossipllm/peers/1"),
        "peers.length",
        -25,
    ),
    "addresses that are not text": (
        lambda a: a.send(b"\4\0" + b"\xff" * 4, protocol="/gossipllm/peers/1"),
        "peers.text",
        -10,
    ),
}


async def reset_in_the_middle(attacker: Any) -> None:
    stream = await attacker.send(encode_uvarint(1000) + b"x" * 10)
    await stream.reset()


async def close_in_the_middle(attacker: Any) -> None:
    stream = await attacker.send(encode_uvarint(1000) + b"x" * 10)
    await stream.close()


async def say_nothing(attacker: Any) -> None:
    for protocol in (MESHSUB, BLOB_PROTOCOL, KNOWN_PROTOCOL, "/gossipllm/peers/1", "/ipfs/id/1.0.0"):
        await attacker.open(protocol)


async def push_garbage_identity(attacker: Any) -> None:
    with suppress(Exception):  # The protocol is not offered.
        await attacker.send(attacker.framed(b"\xff" * 300), protocol="/ipfs/id/push/1.0.0")


async def open_two_hundred_streams(attacker: Any) -> None:
    with suppress(Exception), trio.move_on_after(5):
        for _ in range(200):
            await attacker.host.get_network().new_stream(attacker.victim_id)


async def speak_raw_garbage(attacker: Any) -> None:
    victim = attacker._victim.addrs[0]
    host, port = victim.value_for_protocol("ip4"), int(victim.value_for_protocol("tcp"))
    for seed in range(20):
        stream = await trio.open_tcp_stream(host, port)
        with suppress(trio.BrokenResourceError):
            await stream.send_all(random.Random(seed).randbytes(500))
            if seed % 2:
                await stream.send_all(b"\x13/multistream/1.0.0\n" + b"\xff" * 40)
        await stream.aclose()


async def spoil_the_muxer(attacker: Any) -> None:
    connection = attacker.host.get_network().get_connections(attacker.victim_id)[0]
    rng = random.Random(7)
    with suppress(Exception):
        for _ in range(200):
            await connection.muxed_conn.secured_conn.write(b"\0" + rng.randbytes(11))
    with suppress(Exception):
        await connection.close()


HARMLESS: dict[str, Attack] = {
    "a frame cut by a reset": reset_in_the_middle,
    "a frame cut by a close": close_in_the_middle,
    "silence on every protocol": say_nothing,
    "a garbage identity": push_garbage_identity,
    "two hundred streams": open_two_hundred_streams,
    "raw garbage on TCP": speak_raw_garbage,
    "garbage frames of Yamux": spoil_the_muxer,
    "a garbage sender record": lambda a: a.send(rpc_pb2.RPC(senderRecord=b"\xff" * 100)),
    "a topic that is no text": lambda a: a.send(a.framed(b"\x0a\x06\x08\x01\x12\x02\xff\xfe")),
    "garbage greeting": lambda a: a.send(b"\3\0\0\0abc", protocol=KNOWN_PROTOCOL),
    "an unknown blob": lambda a: a.send(b"\1" * 40, protocol=BLOB_PROTOCOL),
    "a hundred copies": lambda a: a.publish(*[a.message(Identity(b"\1" * 32))] * 50),
    "a backoff of centuries": lambda a: a.send(
        a.control(prune=[rpc_pb2.ControlPrune(topicID=ANNOUNCE_TOPIC, backoff=2**64 - 1)])
    ),
}


@pytest.mark.parametrize("name", FINED)
async def test_it_is_fined_and_survived(scene: Any, name: str) -> None:
    victim, attacker, still_works = scene
    run, field, fine = FINED[name]
    with trio.fail_after(20):
        await run(attacker)
        await wait_until(lambda: any(fault[0] == attacker.id for fault in victim.peer.faults))
        told = {(what, cost) for who, what, _, cost in victim.peer.faults if who == attacker.id}
        assert (field, fine) in told
        assert all(len(why) < 100 for _, _, why, _ in victim.peer.faults)
        await still_works()


@pytest.mark.parametrize("name", HARMLESS)
async def test_it_is_survived(scene: Any, name: str) -> None:
    _, attacker, still_works = scene
    with trio.fail_after(20):
        await HARMLESS[name](attacker)
        await still_works()


async def test_our_own_exception_costs_nobody_anything(scene: Any, caplog: Any) -> None:
    victim, attacker, still_works = scene
    raised: list[bytes] = []

    def verdict(frame: bytes) -> Verdict:
        if frame.startswith(b"trap"):
            raised.append(frame)
            raise KeyError("a bug of ours")
        return Verdict.ACCEPT

    victim.peer.verdict = verdict
    with trio.fail_after(20):
        await attacker.publish(attacker.message(data=b"trap 1"), attacker.message(data=b"trap 2"))
        await wait_until(lambda: len(raised) == 2)
        await still_works()
        assert victim.peer.faults == []
        assert sum("a bug of ours" in (record.exc_text or "") for record in caplog.records) == 1


async def test_the_same_bytes_under_other_numbers_are_judged_once(scene: Any) -> None:
    victim, attacker, still_works = scene
    with trio.fail_after(20):
        await attacker.publish(
            *(attacker.message(data=b"again") for _ in range(20)), attacker.message(data=b"end")
        )
        await wait_until(lambda: b"end" in victim.peer.frames())
        assert victim.peer.frames().count(b"again") == 1
        await still_works()


async def test_a_wish_is_granted_at_most_three_times(scene: Any) -> None:
    victim, attacker, still_works = scene
    with trio.fail_after(20):
        wanted = attacker.message(data=b"w" * 20_000)
        before = victim.network.traffic().sent["announce"]
        await attacker.publish(wanted)
        await wait_until(lambda: wanted.data in victim.peer.frames())
        wish = attacker.control(iwant=[rpc_pb2.ControlIWant(messageIDs=[wanted.from_id + wanted.seqno] * 20)])
        await attacker.send(*[wish] * 20, rpc_pb2.RPC(publish=[attacker.message(data=b"end")]))
        await wait_until(lambda: b"end" in victim.peer.frames())
        await still_works()
        copies = (victim.network.traffic().sent["announce"] - before) // 20_000
        assert copies <= 1 + 3  # passed on to the honest peer once, to the attacker three times


async def test_who_keeps_sending_without_being_read_is_cut_off(scene: Any) -> None:
    """The library's Yamux buffers whatever comes, window or not."""
    victim, attacker, still_works = scene
    digest = victim.peer.keep(bytes(2_000_000))
    with trio.fail_after(30):
        # Asks for a blob and never reads it, so that the victim waits to write and does not read on.
        stream = await attacker.send(digest + bytes(8), protocol=BLOB_PROTOCOL)
        stream.muxed_stream.send_window = 2**40
        with suppress(Exception), trio.move_on_after(15):
            for _ in range(1_000):
                await stream.write(bytes(65_000))
        await wait_until(lambda: attacker.id not in victim.network.neighbours())
        await still_works()


async def test_who_reads_nothing_is_disconnected_all_the_same(scene: Any) -> None:
    victim, attacker, still_works = scene
    digest = victim.peer.keep(bytes(30_000_000))
    with trio.fail_after(20):
        stream = await attacker.send(digest + bytes(8), protocol=BLOB_PROTOCOL)
        await stream.muxed_stream.send_window_update(2**27)
        # From here on the attacker's muxer reads no more, so that the victim's socket fills up.
        attacker_connection = attacker.host.get_network().get_connections(attacker.victim_id)[0]
        async with attacker_connection.muxed_conn.streams_lock:
            ours = victim.network._life._swarm.get_connections(attacker.host.get_id())[0]
            await wait_until(ours.muxed_conn._write_lock.locked)
            await victim.network.disconnect(attacker.id)
            await wait_until(lambda: attacker.id not in victim.network.neighbours())
            await still_works()
