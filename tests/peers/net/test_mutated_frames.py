"""Frames of the gossip protocol with a few bytes changed, against a live host; it must go on, and fine what it sees."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import trio
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.utils import encode_uvarint

from peers.identity import Identity
from wire.messages import ANNOUNCE_TOPIC


def mutated(rng: random.Random, model: bytes) -> bytes:
    frame = bytearray(model)
    for _ in range(rng.randint(1, 3)):
        frame[rng.randrange(len(frame))] = rng.randrange(256)
    if rng.random() < 0.3:
        del frame[rng.randrange(len(frame)) :]
    return encode_uvarint(len(frame)) + bytes(frame)


def models_of(attacker: Any) -> list[bytes]:
    """Frames that an honest peer might send: a message, control, a subscription."""
    return [
        rpc_pb2.RPC(publish=[attacker.message(data=b"x" * 40)]).SerializeToString(),
        attacker.control(
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
    victim, attacker, still_works = scene
    pubsub = victim.network._life._pubsub
    rng, models = random.Random(20), models_of(attacker)
    stranger = ID.from_string(Identity.generate().peer_id)
    with trio.fail_after(30):
        for _ in range(2_000):
            frames = mutated(rng, rng.choice(models)) + mutated(rng, rng.choice(models))
            await pubsub.stream_handler(CannedStream(stranger, frames))
        assert {field for _, field, _, _ in victim.peer.faults} >= {"frame.protobuf", "message.signature"}
        await still_works()


async def test_mutated_frames_over_the_wire(scene: Any) -> None:
    _, attacker, still_works = scene
    rng, models = random.Random(21), models_of(attacker)
    with trio.fail_after(30):
        for _ in range(15):
            with suppress(Exception), trio.move_on_after(2):
                stream = await attacker.open()
                for _ in range(20):
                    await stream.write(mutated(rng, rng.choice(models)))
        await still_works()
