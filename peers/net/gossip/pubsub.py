"""Pubsub of py-libp2p 0.8.1, hardened: nothing that a stranger sends ends the process or is passed on unjudged.

As shipped it dies of one malformed frame (`DecodeError` leaves the read loop), of one message with a malformed key (the
signature check raises), and of an exception in our own validator; and it lets two writers mix their frames on one
stream. This class overrides private methods of the library to end each of these, so `libp2p_host.py` insists on
exactly that version.

Rules of this file. A frame is read within a deadline, parsed once, cut to our topic and to counted entries, and only
then shown to the library. A message gets its verdict in `push_msg`, synchronously, before anything is awaited:
duplicates that arrive meanwhile cannot slip through. IGNORE leaves no trace, so that the same message may come again;
ACCEPT and REJECT are final. The library's message id (origin and sequence number) stays, because its message cache
relies on it; that the same bytes came before under another id is seen by their digest. No payload is ever formatted
into text: `str` of 2.4 MB took 0.3 s of the event loop.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

import trio
from google.protobuf.message import DecodeError
from libp2p.abc import IHost, INetStream
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.rpc_queue import RpcQueue
from libp2p.pubsub.validators import signature_validator
from libp2p.utils import encode_uvarint

from peers.identity import is_raw_peer_id
from peers.net.gossip.control import flood, relevant_control
from peers.net.gossip.router import MAX_RPC_BYTES, SafeGossipSub
from peers.net.host import PeerId, Verdict
from peers.net.limits import faults
from peers.net.limits.buckets import PeerBuckets
from peers.net.limits.fair import FairBucket
from peers.net.limits.faults import ProtocolFault
from peers.net.meter import TrafficMeter
from peers.net.streams.framing import FrameReader, finish
from wire.bounded import BoundedDict

_log = logging.getLogger(__name__)

FRAME_DEADLINE_S: Final = 10.0
"""Seconds from a frame's first byte to its last: 64 KiB at 6.5 kB/s. Guess."""
WRITE_DEADLINE_S: Final = 10.0
MAX_MESSAGES: Final = 64
MAX_SUBSCRIPTIONS: Final = 64
SEQUENCE_BYTES: Final = 8
MAX_STREAMS_PER_PEER: Final = 4
"""An honest neighbour opens one; while it reconnects, two."""
REMEMBERED_JUDGED: Final = 100_000
"""Digests of accepted and rejected messages: 32 bytes each and their table, about 12 MB when full."""
JUDGED_TTL_S: Final = 600.0
"""Seconds that a verdict is remembered. A repeat after that is judged again, which costs time and nothing else."""
FRAMES_S, FRAMES_BURST = 200.0, 2_000.0
"""Frames and messages in them from one peer before we read slower, whatever the number of its streams. Guess: a burst
after a healed partition must pass."""
CHECKS_S, CHECKS_BURST = 250.0, 2_000.0
"""Messages whose signatures are checked, of all peers together, who take turns; repeats cost nothing. Two signatures
take 0.3 to 0.4 ms, so this is a tenth of one processor. A network of a thousand peers sends 20 messages a second."""
MAX_QUEUED: Final = 16
"""Half of the library's queue for one peer, beyond which it drops silently."""

Judge = Callable[[bytes, PeerId], Verdict]
Accuse = Callable[[PeerId, ProtocolFault], None]


class SafePubsub(Pubsub):
    """One topic of one host.

    Verdicts come from `judge`, which does not raise (`guard.py`). What neighbours do wrong goes to `accuse`; a
    neighbour that sends what cannot be parsed goes to `drop`, which ends the connection.
    """

    def __init__(
        self,
        host: IHost,
        router: SafeGossipSub,
        *,
        topic: str,
        judge: Judge,
        accuse: Accuse,
        drop: Callable[[PeerId], None],
        meter: TrafficMeter,
    ) -> None:
        super().__init__(
            host,
            router,
            strict_signing=True,
            max_inbound_rpc_size=MAX_RPC_BYTES,
            max_subscriptions_per_peer=1,
            allowed_topics={topic},
        )
        # The library starts at whole seconds, so a restarted peer repeats numbers and is not heard.
        self.counter = time.time_ns()
        self.gossip = router
        self._topic = topic
        self._judge = judge
        self._accuse = accuse
        self._drop = drop
        self._meter = meter
        self._write_locks: WeakKeyDictionary[INetStream, trio.Lock] = WeakKeyDictionary()
        self._inbound: dict[ID, int] = {}
        self._paces = PeerBuckets(rate_s=FRAMES_S, burst=FRAMES_BURST)
        self.checks = FairBucket(rate_s=CHECKS_S, burst=CHECKS_BURST)
        """Its `run` must run while messages come."""
        self._judged_at: BoundedDict[bytes, float] = BoundedDict(REMEMBERED_JUDGED)

    # Reading.

    async def stream_handler(self, stream: INetStream) -> None:
        peer = stream.muxed_conn.peer_id
        if self._inbound.get(peer, 0) >= MAX_STREAMS_PER_PEER:
            await finish(stream, orderly=False)
            return
        self._inbound[peer] = self._inbound.get(peer, 0) + 1
        try:
            await self.continuously_read_stream(stream)
        except ProtocolFault as fault:
            self._accuse(str(peer), fault)
            await finish(stream, orderly=False)
            if fault.field != "frame.deadline":  # Slowness costs the stream, nonsense the connection.
                self._drop(str(peer))
            self._handle_dead_peer(peer)
        except Exception as error:  # noqa: BLE001 - nothing may leave a stream handler
            # Resets and closed connections end here, and whatever else the library may raise.
            _log.debug("gossip stream of %s ended: %s", peer, type(error).__name__)
            await finish(stream, orderly=False)
            self._handle_dead_peer(peer)
        finally:
            self._inbound[peer] -= 1
            if not self._inbound[peer]:
                del self._inbound[peer]

    async def continuously_read_stream(self, stream: INetStream) -> None:
        peer = stream.muxed_conn.peer_id
        reader = FrameReader(stream, limit=MAX_RPC_BYTES, deadline_s=FRAME_DEADLINE_S)
        pace = self._paces.of(str(peer))
        while self.manager.is_running:
            frame = await reader.read()
            if frame is None:
                return
            rpc = rpc_pb2.RPC()
            try:
                rpc.ParseFromString(frame)
            except (DecodeError, ValueError, RecursionError):
                raise ProtocolFault(
                    "frame.protobuf", f"{len(frame)} bytes do not parse", faults.MALFORMED
                ) from None
            await pace.take(1 + min(len(rpc.publish), MAX_MESSAGES))
            await self._take(rpc, peer)

    async def _take(self, rpc: rpc_pb2.RPC, peer: ID) -> None:
        if len(rpc.subscriptions) > MAX_SUBSCRIPTIONS:
            self._accuse(str(peer), flood(f"{len(rpc.subscriptions)} subscriptions > {MAX_SUBSCRIPTIONS}"))
        for subscription in rpc.subscriptions[:MAX_SUBSCRIPTIONS]:
            # Other topics belong to newer versions, and cost no fine.
            if subscription.topicid == self._topic:
                self.handle_subscription(peer, subscription)
        if len(rpc.publish) > MAX_MESSAGES:
            self._accuse(str(peer), flood(f"{len(rpc.publish)} messages > {MAX_MESSAGES}"))
        for message in rpc.publish[:MAX_MESSAGES]:
            await self.push_msg(peer, message)
        if rpc.HasField("control"):
            control, found = relevant_control(rpc.control, self._topic)
            for fault in found:
                self._accuse(str(peer), fault)
            await self.gossip.handle_rpc(rpc_pb2.RPC(control=control), peer)

    # Judging.

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        """Judge a message that another peer sent; pass it on, or our own, if it stands."""
        if msg_forwarder != self.my_id:
            self._meter.received("announce", len(msg.data))
            if not self._is_repeat(msg):
                await self.checks.take(str(msg_forwarder))
            try:
                if not self._stands(msg_forwarder, msg):
                    return
            except ProtocolFault as fault:
                self._accuse(str(msg_forwarder), fault)
                return
        self._mark_msg_seen(msg)
        await self.gossip.publish(msg_forwarder, msg)

    def _stands(self, forwarder: ID, msg: rpc_pb2.Message) -> bool:
        """Synchronous from end to end: cheapest checks first, our own verdict last."""
        if list(msg.topicIDs) != [self._topic]:
            raise ProtocolFault("message.topic", "not ours", faults.UNKNOWN_TOPIC)
        if not is_raw_peer_id(msg.from_id):
            raise ProtocolFault("message.from", "not the id of an Ed25519 key", faults.MALFORMED)
        if len(msg.seqno) != SEQUENCE_BYTES:
            raise ProtocolFault(
                "message.seqno", f"{len(msg.seqno)} bytes, expected {SEQUENCE_BYTES}", faults.MALFORMED
            )
        if self._is_repeat(msg):
            return False
        digest = hashlib.sha256(msg.data).digest()
        if not _signature_holds(msg):
            raise ProtocolFault("message.signature", "does not verify for its origin", faults.FORGED)
        verdict = self._judge(msg.data, str(forwarder))
        if verdict is Verdict.IGNORE:
            return False
        self._judged_at[digest] = trio.current_time()
        return verdict is Verdict.ACCEPT

    def _is_repeat(self, msg: rpc_pb2.Message) -> bool:
        """Whether it or its bytes were judged before, or were published here. Costs no signature.

        What bears our id and was not published in this life of the host goes on to the core: it may come from a copy
        of this peer."""
        return self._is_msg_seen(msg) or self._is_judged(hashlib.sha256(msg.data).digest())

    def _is_judged(self, digest: bytes) -> bool:
        expired = trio.current_time() - JUDGED_TTL_S
        # Verdicts are in the order in which they were given, so the expired ones come first.
        while self._judged_at and next(iter(self._judged_at.values())) <= expired:
            del self._judged_at[next(iter(self._judged_at))]
        return digest in self._judged_at

    # Writing.

    async def write_msg(self, stream: INetStream, rpc_msg: rpc_pb2.RPC) -> bool:
        """Whole messages only: replays and the send queue write to the same stream."""
        data = rpc_msg.SerializeToString()
        lock = self._write_locks.setdefault(stream, trio.Lock())
        try:
            with trio.fail_after(WRITE_DEADLINE_S):
                async with lock:
                    await stream.write(encode_uvarint(len(data)) + data)
        except Exception as error:  # noqa: BLE001 - whatever it was, this stream is of no more use
            peer = stream.muxed_conn.peer_id
            _log.debug("gossip to %s failed: %s", peer, type(error).__name__)
            await finish(stream, orderly=False)
            if self.peers.get(peer) is stream:
                self._handle_dead_peer(peer)
            return False
        for message in rpc_msg.publish:
            self._meter.sent("announce", len(message.data))
        return True

    async def handle_sending_messages(self, peer_id: ID, stream: INetStream, queue: RpcQueue) -> None:
        queue.max_message_size = MAX_RPC_BYTES
        await super().handle_sending_messages(peer_id, stream, queue)

    @property
    def congested(self) -> bool:
        return any(len(queue) > MAX_QUEUED for queue in self.peer_queues.values())

    @property
    def drained(self) -> bool:
        return not any(len(queue) for queue in self.peer_queues.values())

    def mend(self, peer: ID) -> None:
        """Give a connected peer a gossip stream that works.

        The library gives up on some errors. And where a peer comes back before the end of its old connection was
        noticed, the library keeps the old connection's stream and never says again what we subscribe to.
        """
        stream = self.peers.get(peer)
        if stream is None:
            self._schedule_peer_stream_retry(peer)
        elif stream.muxed_conn.is_closed:
            self._handle_dead_peer(peer)


def _signature_holds(msg: rpc_pb2.Message) -> bool:
    """The library's strict check, shown only origins that carry their key (then it does not use `key`)."""
    try:
        return signature_validator(msg)
    except Exception:  # noqa: BLE001 - 38 bytes may hold no point of the curve; the library does not say what it raises
        return False
