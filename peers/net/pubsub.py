"""GossipSub of py-libp2p, hardened: nothing that a stranger sends ends the process or is passed on unjudged.

As shipped, 0.8.1 dies of one malformed frame (`DecodeError` leaves the read loop), of one message with a
malformed key (the signature check raises), and of an exception in our own validator; it holds whole
messages for ever in its equivocation table, answers one IWANT for the same id twenty times with twenty
copies, keeps an entry for each of 240,000 invented topics, and lets two writers mix their frames on one
stream. This file overrides private methods to end each of these, so it insists on exactly that version.

Rules here. A frame is read within a deadline, parsed once, cut to our topic and to counted entries, and
only then shown to the library. A message gets its verdict in `push_msg`, synchronously, before anything is
awaited: duplicates that arrive meanwhile cannot slip through. IGNORE leaves no trace, so that the same
message may come again; ACCEPT and REJECT are final. The library's message id (origin and sequence number)
stays, because its message cache relies on it; that the same bytes came before under another id is seen by
their digest. No payload is ever formatted into text.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

import trio
from google.protobuf.message import DecodeError
from libp2p.abc import IHost, INetStream
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.rpc_queue import RpcQueue
from libp2p.pubsub.utils import safe_bytes_from_hex
from libp2p.pubsub.validators import signature_validator
from libp2p.utils import encode_uvarint

from peers.identity import is_raw_peer_id
from peers.net.host import PeerId, Verdict
from peers.net.limits import faults
from peers.net.limits.buckets import Bucket
from peers.net.limits.faults import ProtocolFault
from peers.net.streams.framing import FrameReader, finish

if TYPE_CHECKING:
    from peers.net.meter import TrafficMeter

_log = logging.getLogger(__name__)

HEARTBEAT_S: Final = 1.0
"""The GossipSub paper's value (2007.02754); the library's own is 120 s."""
FRAME_DEADLINE_S: Final = 10.0
"""Seconds from a frame's first byte to its last: 64 KiB at 6.5 kB/s. Guess."""
MAX_RPC_BYTES: Final = 65_536
MAX_MESSAGES: Final = 64
MAX_CONTROL: Final = 64
MAX_SUBSCRIPTIONS: Final = 64
MAX_IDS: Final = 256
MAX_ID_BYTES: Final = 64
SEQUENCE_BYTES: Final = 8
MAX_STREAMS_PER_PEER: Final = 4
"""An honest neighbour opens one; while it reconnects, two."""
MAX_BACKOFF_S: Final = 3_600
MAX_SERVED: Final = 3
"""Times that one id is sent to one asker, as in go-libp2p."""
REMEMBERED_SERVED: Final = 4_096
REMEMBERED_JUDGED: Final = 100_000
"""Digests of accepted and rejected messages: 32 bytes each and their table, about 12 MB when full."""
JUDGED_TTL_S: Final = 600.0
FRAMES_S, FRAMES_BURST = 200.0, 2_000.0
"""Frames from one stream before we read slower. Guess: a burst after a healed partition must pass."""
WRITE_DEADLINE_S: Final = 10.0
MAX_QUEUED: Final = 16
"""Half of the library's queue for one peer, beyond which it drops without a word."""

Judge = Callable[[bytes, PeerId], Verdict]
Accuse = Callable[[PeerId, ProtocolFault], None]


class SafeGossipSub(GossipSub):
    """The router: version 1.1 only, no exchange of peers, no spam counters, no adaptive anything."""

    def __init__(self) -> None:
        super().__init__(
            protocols=[PROTOCOL_ID_V11],
            # A net of up to six is a full mesh; in larger ones each message costs about six copies.
            degree=6,
            degree_low=4,
            degree_high=12,
            heartbeat_initial_delay=0.1,
            heartbeat_interval=HEARTBEAT_S,  # pyright: ignore[reportArgumentType] # slept, never counted
            gossip_window=3,
            gossip_history=5,
            do_px=False,
            prune_back_off=10,
            adaptive_gossip_enabled=False,
            spam_protection_enabled=False,
            # Whole messages, kept for whoever is connected and never subscribes.
            max_pending_messages_per_peer=8,
            eclipse_protection_enabled=False,
        )
        self._seen_contents: OrderedDict[bytes, bytes] = OrderedDict()
        self._served: OrderedDict[tuple[ID, bytes], int] = OrderedDict()

    def _check_equivocation(self, msg: rpc_pb2.Message) -> bool:
        """Whether this id has come with other bytes before. Digests, and not many."""
        key = bytes(msg.from_id + msg.seqno)
        digest = hashlib.sha256(msg.data).digest()
        known = self._seen_contents.setdefault(key, digest)
        if len(self._seen_contents) > REMEMBERED_SERVED:
            self._seen_contents.popitem(last=False)
        return known == digest

    async def handle_iwant(self, iwant_msg: rpc_pb2.ControlIWant, sender_peer_id: ID) -> None:
        ids: list[bytes] = []
        for wire_id in dict.fromkeys(iwant_msg.messageIDs):
            message_id = safe_bytes_from_hex(wire_id)
            if message_id is None:
                continue
            key = (sender_peer_id, message_id)
            times = self._served.pop(key, 0)
            self._served[key] = times + 1
            if times < MAX_SERVED and self.mcache.get(message_id) is not None:
                ids.append(wire_id)
        while len(self._served) > REMEMBERED_SERVED:
            self._served.popitem(last=False)
        if ids:
            await super().handle_iwant(rpc_pb2.ControlIWant(messageIDs=ids), sender_peer_id)

    def send_rpc(self, peer_id: ID, rpc: rpc_pb2.RPC, priority: bool = False) -> None:
        queue = self.pubsub.peer_queues.get(peer_id) if self.pubsub is not None else None
        if queue is not None:
            # Made by the library with 1 MiB, of which our neighbours would accept nothing.
            queue.max_message_size = MAX_RPC_BYTES
        super().send_rpc(peer_id, rpc, priority)

    def _periodic_security_cleanup(self) -> None:
        super()._periodic_security_cleanup()
        # Only the adaptive gossip that is off ever shortens these.
        self.recent_message_deliveries.clear()
        now = int(time.time())
        for topic, until in self.back_off.items():
            self.back_off[topic] = {peer: at for peer, at in until.items() if at > now}


class SafePubsub(Pubsub):
    """One topic. Verdicts come from `judge`, which does not raise (`guard.py`); what neighbours do wrong
    goes to `accuse`, and whoever sends what cannot be parsed to `drop`, which ends the connection."""

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
        self._judged: OrderedDict[bytes, float] = OrderedDict()

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
            # Resets and closed connections come here, and whatever else the library may raise.
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
        pace = Bucket(rate_s=FRAMES_S, burst=FRAMES_BURST)
        while self.manager.is_running:
            frame = await reader.read()
            if frame is None:
                return
            await pace.take(1)
            rpc = rpc_pb2.RPC()
            try:
                rpc.ParseFromString(frame)
            except (DecodeError, ValueError, RecursionError):
                raise ProtocolFault(
                    "frame.protobuf", f"{len(frame)} bytes do not parse", faults.MALFORMED
                ) from None
            await self._take(rpc, peer)

    async def _take(self, rpc: rpc_pb2.RPC, peer: ID) -> None:
        if len(rpc.subscriptions) > MAX_SUBSCRIPTIONS:
            self._flood(peer, f"{len(rpc.subscriptions)} subscriptions > {MAX_SUBSCRIPTIONS}")
        for subscription in rpc.subscriptions[:MAX_SUBSCRIPTIONS]:
            # Other topics are a newer version's business, and not worth a fine.
            if subscription.topicid == self._topic:
                self.handle_subscription(peer, subscription)
        if len(rpc.publish) > MAX_MESSAGES:
            self._flood(peer, f"{len(rpc.publish)} messages > {MAX_MESSAGES}")
        for message in rpc.publish[:MAX_MESSAGES]:
            await self.push_msg(peer, message)
        if rpc.HasField("control"):
            control = self._own_control(rpc.control, peer)
            await self.gossip.handle_rpc(rpc_pb2.RPC(control=control), peer)

    def _own_control(self, control: rpc_pb2.ControlMessage, peer: ID) -> rpc_pb2.ControlMessage:
        """What of it concerns us: our topic, each kind once, ids without repeats, 1.1 only."""
        counts = {
            "ihave": len(control.ihave),
            "iwant": len(control.iwant),
            "graft": len(control.graft),
            "prune": len(control.prune),
            "idontwant": len(control.idontwant),
        }
        own = rpc_pb2.ControlMessage()
        if sum(counts.values()) > MAX_CONTROL:
            worst = max(counts, key=lambda kind: counts[kind])
            self._flood(peer, f"{counts[worst]} {worst} > {MAX_CONTROL}")
            return own
        topics = [entry.topicID for entry in (*control.ihave, *control.graft, *control.prune)]
        if any(topic != self._topic for topic in topics):
            self._accuse(str(peer), ProtocolFault("control.topic", "not ours", faults.UNKNOWN_TOPIC))
        offered = self._ids(
            peer, "ihave", [i for e in control.ihave if e.topicID == self._topic for i in e.messageIDs]
        )
        wanted = self._ids(peer, "iwant", [i for e in control.iwant for i in e.messageIDs])
        if offered:
            own.ihave.append(rpc_pb2.ControlIHave(topicID=self._topic, messageIDs=offered))
        if wanted:
            own.iwant.append(rpc_pb2.ControlIWant(messageIDs=wanted))
        if any(entry.topicID == self._topic for entry in control.graft):
            own.graft.append(rpc_pb2.ControlGraft(topicID=self._topic))
        backoffs = [entry.backoff for entry in control.prune if entry.topicID == self._topic]
        if backoffs:
            backoff = min(max(backoffs), MAX_BACKOFF_S)
            own.prune.append(rpc_pb2.ControlPrune(topicID=self._topic, backoff=backoff))
        return own

    def _ids(self, peer: ID, kind: str, ids: Sequence[bytes]) -> list[bytes]:
        if len(ids) > MAX_IDS:
            self._flood(peer, f"{len(ids)} ids in {kind} > {MAX_IDS}")
        return [i for i in dict.fromkeys(ids[:MAX_IDS]) if len(i) <= MAX_ID_BYTES]

    def _flood(self, peer: ID, why: str) -> None:
        self._accuse(str(peer), ProtocolFault("control.count", why, faults.FLOOD))

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        """Judge a message of somebody else's; pass it on, or our own, if it stands."""
        if msg_forwarder != self.my_id:
            self._meter.received("announce", len(msg.data))
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
        if self._is_msg_seen(msg) or msg.from_id == self.my_id.to_bytes():
            return False
        digest = hashlib.sha256(msg.data).digest()
        if self._is_judged(digest):
            return False
        if not _signature_holds(msg):
            raise ProtocolFault("message.signature", "does not verify for its origin", faults.FORGED)
        verdict = self._judge(msg.data, str(forwarder))
        if verdict is Verdict.IGNORE:
            return False
        self._judged[digest] = trio.current_time()
        return verdict is Verdict.ACCEPT

    def _is_judged(self, digest: bytes) -> bool:
        now = trio.current_time()
        while self._judged:
            oldest = next(iter(self._judged))
            if len(self._judged) <= REMEMBERED_JUDGED and now - self._judged[oldest] < JUDGED_TTL_S:
                break
            del self._judged[oldest]
        return digest in self._judged

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

        The library gives up on some errors; and where a peer comes back before the end of its old connection
        was noticed, it keeps the old connection's stream and never says again what we subscribe to.
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
    except Exception:  # noqa: BLE001 - 38 bytes may hold no point of the curve; undocumented
        return False
