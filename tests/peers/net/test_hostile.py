"""What a stranger can send, against a live host; afterwards an honest peer's announcement must arrive.

Each attack opens streams of its own. What it must cost is stated beside it: the field named and the fine.
"""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX
from libp2p.utils import encode_uvarint

from peers.identity import Identity
from peers.net.host import Verdict
from wire.messages import ANNOUNCE_TOPIC, BLOB_PROTOCOL, KNOWN_PROTOCOL

MESHSUB = "/meshsub/1.1.0"
Attack = Callable[[Any], Awaitable[None]]


def framed(data: bytes) -> bytes:
    return encode_uvarint(len(data)) + data


def message(identity: Identity | None = None, data: bytes = b"hello", **changes: Any) -> rpc_pb2.Message:
    """A message as an honest author signs it, then changed."""
    identity = identity or Identity.generate()
    made = rpc_pb2.Message(
        data=data,
        topicIDs=[ANNOUNCE_TOPIC],
        from_id=ID.from_string(identity.peer_id).to_bytes(),
        seqno=os.urandom(8),
    )
    made.signature = identity.sign(PUBSUB_SIGNING_PREFIX.encode() + made.SerializeToString())
    for name, value in changes.items():
        if name == "topicIDs":
            del made.topicIDs[:]
            made.topicIDs.extend(value)
        else:
            setattr(made, name, value)
    return made


def control(**entries: Any) -> rpc_pb2.RPC:
    return rpc_pb2.RPC(control=rpc_pb2.ControlMessage(**entries))


async def send(attacker: Any, *parts: bytes | rpc_pb2.RPC, protocol: str = MESHSUB) -> Any:
    stream = await attacker.open(protocol)
    for part in parts:
        await stream.write(part if isinstance(part, bytes) else framed(part.SerializeToString()))
    return stream


async def send_message(attacker: Any, *messages: rpc_pb2.Message) -> None:
    await send(attacker, rpc_pb2.RPC(publish=messages))


def attack(*parts: bytes | rpc_pb2.RPC, protocol: str = MESHSUB) -> Attack:
    async def run(attacker: Any) -> None:
        await send(attacker, *parts, protocol=protocol)

    return run


def messages(*sent: rpc_pb2.Message) -> Attack:
    return attack(rpc_pb2.RPC(publish=sent))


FINED: dict[str, tuple[Attack, str, float]] = {
    "garbage instead of protobuf": (attack(framed(b"\xff" * 50)), "frame.protobuf", -10),
    "a length of two megabytes": (attack(encode_uvarint(2**21)), "frame.length", -25),
    "a length of a terabyte": (attack(encode_uvarint(2**40)), "frame.length", -25),
    "a varint of twelve bytes": (attack(b"\xff" * 12), "frame.length", -25),
    "a frame that never ends": (attack(encode_uvarint(60_000) + b"x" * 812), "frame.deadline", -10),
    "a forged signature": (messages(message(signature=b"\1" * 64)), "message.signature", -25),
    "no signature": (messages(message(signature=b"")), "message.signature", -25),
    "a signature that is too short": (messages(message(signature=b"\1" * 7)), "message.signature", -25),
    "changed data": (
        messages(message(data=b"a"), message(data=b"b", signature=b"")),
        "message.signature",
        -25,
    ),
    "an origin that is no key, with a garbage key": (
        messages(message(from_id=b"\x12\x20" + b"z" * 32, key=b"\xff" * 40)),
        "message.from",
        -10,
    ),
    "an origin of sixty kilobytes": (messages(message(from_id=b"z" * 60_000)), "message.from", -10),
    "an empty origin": (messages(message(from_id=b"")), "message.from", -10),
    "a key that is no point": (
        messages(message(from_id=bytes.fromhex("002408011220") + b"\xff" * 32)),
        "message.signature",
        -25,
    ),
    "a number of three bytes": (messages(message(seqno=b"abc")), "message.seqno", -10),
    "another topic": (messages(message(topicIDs=["weather"])), "message.topic", -5),
    "two topics": (messages(message(topicIDs=[ANNOUNCE_TOPIC, "weather"])), "message.topic", -5),
    "two thousand invented topics pruned": (
        attack(control(prune=[rpc_pb2.ControlPrune(topicID=f"t{i}") for i in range(2000)])),
        "control.count",
        -5,
    ),
    "an invented topic grafted": (
        attack(control(graft=[rpc_pb2.ControlGraft(topicID="x")])),
        "control.topic",
        -5,
    ),
    "a thousand offers": (
        attack(control(ihave=[rpc_pb2.ControlIHave(topicID=ANNOUNCE_TOPIC, messageIDs=[b"m"])] * 1000)),
        "control.count",
        -5,
    ),
    "an offer of a thousand ids": (
        attack(
            control(
                ihave=[
                    rpc_pb2.ControlIHave(topicID=ANNOUNCE_TOPIC, messageIDs=[b"m%d" % i for i in range(1000)])
                ]
            )
        ),
        "control.count",
        -5,
    ),
    "a thousand wishes": (
        attack(control(iwant=[rpc_pb2.ControlIWant(messageIDs=[b"m%d" % i for i in range(1000)])])),
        "control.count",
        -5,
    ),
    "four thousand subscriptions": (
        attack(
            rpc_pb2.RPC(
                subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid=f"t{i}") for i in range(4000)]
            )
        ),
        "control.count",
        -5,
    ),
    "a thousand empty messages": (
        attack(rpc_pb2.RPC(publish=[rpc_pb2.Message(topicIDs=[ANNOUNCE_TOPIC])] * 1000)),
        "control.count",
        -5,
    ),
    "a greeting of four gigabytes": (
        attack(b"\xff" * 4, protocol=KNOWN_PROTOCOL),
        "greeting.length",
        -25,
    ),
    "a blob from beyond its end": (
        attack(b"\0" * 32 + b"\xff" * 8, protocol=BLOB_PROTOCOL),
        "pull.offset",
        -10,
    ),
    "addresses of sixty kilobytes": (
        attack(b"\xff" * 2 + b"x" * 65_535, protocol="/gossipllm/peers/1"),
        "peers.length",
        -25,
    ),
    "addresses that are not text": (
        attack(b"\4\0" + b"\xff" * 4, protocol="/gossipllm/peers/1"),
        "peers.text",
        -10,
    ),
}


async def reset_in_the_middle(attacker: Any) -> None:
    stream = await send(attacker, encode_uvarint(1000) + b"x" * 10)
    await stream.reset()


async def close_in_the_middle(attacker: Any) -> None:
    stream = await send(attacker, encode_uvarint(1000) + b"x" * 10)
    await stream.close()


async def say_nothing(attacker: Any) -> None:
    for protocol in (MESHSUB, BLOB_PROTOCOL, KNOWN_PROTOCOL, "/gossipllm/peers/1", "/ipfs/id/1.0.0"):
        await attacker.open(protocol)


async def push_garbage_identity(attacker: Any) -> None:
    with suppress(Exception):  # The protocol is not offered.
        await send(attacker, framed(b"\xff" * 300), protocol="/ipfs/id/push/1.0.0")


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
    "a garbage sender record": attack(rpc_pb2.RPC(senderRecord=b"\xff" * 100)),
    "a topic that is no text": attack(framed(b"\x0a\x06\x08\x01\x12\x02\xff\xfe")),
    "garbage greeting": attack(b"\3\0\0\0abc", protocol=KNOWN_PROTOCOL),
    "an unknown blob": attack(b"\1" * 40, protocol=BLOB_PROTOCOL),
    "a hundred copies": messages(*[message(Identity(b"\1" * 32))] * 50),
    "a backoff of centuries": attack(
        control(prune=[rpc_pb2.ControlPrune(topicID=ANNOUNCE_TOPIC, backoff=2**64 - 1)])
    ),
}


@pytest.fixture
async def scene(real: Any, attacker_on: Any, until: Any, caplog: pytest.LogCaptureFixture) -> Any:
    """Victim, honest peer and attacker; the call at the end asserts that the honest one is still heard,
    that nobody else was fined, and that nothing was logged by the library at a stranger's bidding."""
    async with real(2, frame_deadline_s=0.3, answer_deadline_s=0.5) as (victim, honest):
        victim.peer.blobs[bytes(32)] = b"three"
        async with attacker_on(victim) as attacker:

            async def still_works() -> None:
                frame = b"honest " + os.urandom(4)
                await honest.network.publish(frame)
                await until(lambda: frame in victim.peer.frames())
                back = b"answer " + os.urandom(4)
                await victim.network.publish(back)
                await until(lambda: back in honest.peer.frames())
                assert [fault for fault in victim.peer.faults if fault[0] == honest.id] == []
                assert honest.peer.faults == []
                assert [record for record in caplog.records if record.name.startswith("libp2p")] == []

            yield victim, attacker, still_works


@pytest.mark.parametrize("name", FINED)
async def test_it_is_fined_and_survived(scene: Any, until: Any, name: str) -> None:
    victim, attacker, still_works = scene
    run, field, fine = FINED[name]
    with trio.fail_after(20):
        await run(attacker)
        await until(lambda: any(fault[0] == attacker.id for fault in victim.peer.faults))
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


async def test_our_own_exception_costs_nobody_anything(scene: Any, until: Any, caplog: Any) -> None:
    victim, attacker, still_works = scene
    raised: list[bytes] = []

    def verdict(frame: bytes) -> Verdict:
        if frame.startswith(b"trap"):
            raised.append(frame)
            raise KeyError("a bug of ours")
        return Verdict.ACCEPT

    victim.peer.verdict = verdict
    with trio.fail_after(20):
        await send_message(attacker, message(data=b"trap 1"), message(data=b"trap 2"))
        await until(lambda: len(raised) == 2)
        await still_works()
        assert victim.peer.faults == []
        assert sum("a bug of ours" in (record.exc_text or "") for record in caplog.records) == 1


async def test_the_same_bytes_under_other_numbers_are_judged_once(scene: Any, until: Any) -> None:
    victim, attacker, still_works = scene
    with trio.fail_after(20):
        await send_message(attacker, *(message(data=b"again") for _ in range(20)), message(data=b"end"))
        await until(lambda: b"end" in victim.peer.frames())
        assert victim.peer.frames().count(b"again") == 1
        await still_works()


async def test_a_wish_is_granted_at_most_three_times(scene: Any, until: Any) -> None:
    victim, attacker, still_works = scene
    with trio.fail_after(20):
        wanted = message(data=b"w" * 20_000)
        before = victim.network.traffic().sent["announce"]
        await send_message(attacker, wanted)
        await until(lambda: wanted.data in victim.peer.frames())
        wish = control(iwant=[rpc_pb2.ControlIWant(messageIDs=[wanted.from_id + wanted.seqno] * 20)])
        await send(attacker, *[wish] * 20, rpc_pb2.RPC(publish=[message(data=b"end")]))
        await until(lambda: b"end" in victim.peer.frames())
        await still_works()
        copies = (victim.network.traffic().sent["announce"] - before) // 20_000
        assert copies <= 1 + 3  # passed on to the honest peer once, to the attacker three times


async def test_who_keeps_sending_without_being_read_is_cut_off(scene: Any, until: Any) -> None:
    """The library's Yamux buffers whatever comes, window or not."""
    victim, attacker, still_works = scene
    digest = victim.peer.keep(bytes(2_000_000))
    with trio.fail_after(30):
        # Asks for a blob and never reads it, so that the victim waits to write and does not read on.
        stream = await send(attacker, digest + bytes(8), protocol=BLOB_PROTOCOL)
        stream.muxed_stream.send_window = 2**40
        with suppress(Exception), trio.move_on_after(15):
            for _ in range(1_000):
                await stream.write(bytes(65_000))
        await until(lambda: attacker.id not in victim.network.neighbours())
        await still_works()


async def test_who_reads_nothing_is_disconnected_all_the_same(scene: Any, until: Any) -> None:
    victim, attacker, still_works = scene
    digest = victim.peer.keep(bytes(30_000_000))
    with trio.fail_after(20):
        stream = await send(attacker, digest + bytes(8), protocol=BLOB_PROTOCOL)
        await stream.muxed_stream.send_window_update(2**27)
        # From here on the attacker's muxer reads no more, so that the victim's socket fills up.
        attacker_connection = attacker.host.get_network().get_connections(attacker.victim_id)[0]
        async with attacker_connection.muxed_conn.streams_lock:
            ours = victim.network._node._swarm.get_connections(attacker.host.get_id())[0]
            await until(ours.muxed_conn._write_lock.locked)
            await victim.network.disconnect(attacker.id)
            await until(lambda: attacker.id not in victim.network.neighbours())
            await still_works()


def mutated(rng: random.Random, model: bytes) -> bytes:
    frame = bytearray(model)
    for _ in range(rng.randint(1, 3)):
        frame[rng.randrange(len(frame))] = rng.randrange(256)
    if rng.random() < 0.3:
        del frame[rng.randrange(len(frame)) :]
    return framed(bytes(frame))


MODELS = [
    rpc_pb2.RPC(publish=[message(data=b"x" * 40)]).SerializeToString(),
    control(
        ihave=[rpc_pb2.ControlIHave(topicID=ANNOUNCE_TOPIC, messageIDs=[b"abc"])],
        graft=[rpc_pb2.ControlGraft(topicID=ANNOUNCE_TOPIC)],
        prune=[rpc_pb2.ControlPrune(topicID=ANNOUNCE_TOPIC, backoff=1)],
        iwant=[rpc_pb2.ControlIWant(messageIDs=[b"abc"])],
    ).SerializeToString(),
    rpc_pb2.RPC(
        subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid=ANNOUNCE_TOPIC)]
    ).SerializeToString(),
]


class CannedStream:
    """As much of a stream as the read loop needs, with bytes that are there already."""

    def __init__(self, peer: ID, data: bytes) -> None:
        self.muxed_conn = self
        self.peer_id = peer
        self._data = data

    async def read(self, n: int) -> bytes:
        await trio.lowlevel.checkpoint()
        data, self._data = self._data[:n], self._data[n:]
        return data

    async def reset(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_four_thousand_mutated_frames(scene: Any) -> None:
    """Into the handler itself: over a connection most would only meet the end of it."""
    victim, _, still_works = scene
    pubsub = victim.network._node._pubsub
    rng = random.Random(20)
    stranger = ID.from_string(Identity.generate().peer_id)
    with trio.fail_after(30):
        for _ in range(2_000):
            frames = mutated(rng, rng.choice(MODELS)) + mutated(rng, rng.choice(MODELS))
            await pubsub.stream_handler(CannedStream(stranger, frames))
        assert {field for _, field, _, _ in victim.peer.faults} >= {"frame.protobuf", "message.signature"}
        await still_works()


async def test_mutated_frames_over_the_wire(scene: Any) -> None:
    _, attacker, still_works = scene
    rng = random.Random(21)
    with trio.fail_after(30):
        for _ in range(15):
            with suppress(Exception), trio.move_on_after(2):
                stream = await attacker.open()
                for _ in range(20):
                    await stream.write(mutated(rng, rng.choice(MODELS)))
        await still_works()
