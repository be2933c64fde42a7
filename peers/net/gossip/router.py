"""The GossipSub router of py-libp2p 0.8.1, with bounds where a stranger could fill memory or multiply traffic.

As shipped it keeps whole messages for ever in its equivocation table, answers one IWANT for the same id twenty times
with twenty copies, and keeps an entry for each of 240,000 invented topics. This class overrides private methods of the
library to end each of these, so `libp2p_host.py` insists on exactly that version.
"""

from __future__ import annotations

import hashlib
import time
from typing import Final

import trio
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.utils import safe_bytes_from_hex

from peers.gossip_degrees import DEGREE, DEGREE_HIGH, DEGREE_LOW, HEARTBEAT_S, WINDOW
from peers.net.limits.rates import Rates
from wire.bounded import BoundedDict

MAX_RPC_BYTES: Final = 65_536
"""Largest frame on the gossip stream. An announcement has about 1 kB; the library would send and read 1 MiB."""
MAX_SERVED: Final = 3
"""Times that one id is sent to one asker, as in go-libp2p."""
SERVED_S, SERVED_BURST = 16.0, 256.0
"""Messages sent again to one asker that wishes for them; the wish for more is not granted. Guess: what a neighbour
missed in a minute of a network of a thousand."""
REMEMBERED: Final = 4_096
"""Message ids whose digest, and (asker, id) pairs whose count, are remembered. Guess: forty rounds of
a network of 100."""


class SafeGossipSub(GossipSub):
    """GossipSub 1.1 without the library's additions that were measured to do harm."""

    def __init__(self) -> None:
        super().__init__(
            protocols=[PROTOCOL_ID_V11],
            degree=DEGREE,
            degree_low=DEGREE_LOW,
            degree_high=DEGREE_HIGH,
            heartbeat_initial_delay=0.1,
            heartbeat_interval=HEARTBEAT_S,  # pyright: ignore[reportArgumentType] # slept, never counted
            gossip_window=WINDOW,
            gossip_history=5,
            do_px=False,  # Peers that a neighbour names on pruning are a known way to be eclipsed.
            prune_back_off=10,
            adaptive_gossip_enabled=False,  # Slows the heartbeat of a lonely peer from 1 s to 30 s.
            spam_protection_enabled=False,  # Forwards 10 messages a second, own ones included; a burst is lost.
            # Whole messages, kept for peers that are connected and never subscribe.
            max_pending_messages_per_peer=8,
            eclipse_protection_enabled=False,  # Its table of addresses never fills.
        )
        self._digests: BoundedDict[bytes, bytes] = BoundedDict(REMEMBERED)
        self._served: BoundedDict[tuple[ID, bytes], int] = BoundedDict(REMEMBERED)
        self._wishes = Rates(rate_s=SERVED_S, burst=SERVED_BURST)

    def _check_equivocation(self, msg: rpc_pb2.Message) -> bool:
        """Whether this id comes with the same bytes as before. The library keeps whole messages for it."""
        key = bytes(msg.from_id + msg.seqno)
        digest = hashlib.sha256(msg.data).digest()
        if key not in self._digests:
            self._digests[key] = digest
        return self._digests[key] == digest

    async def handle_iwant(self, iwant_msg: rpc_pb2.ControlIWant, sender_peer_id: ID) -> None:
        ids: list[bytes] = []
        for wire_id in dict.fromkeys(iwant_msg.messageIDs):
            message_id = safe_bytes_from_hex(wire_id)
            if message_id is None:
                continue
            key = (sender_peer_id, message_id)
            times = self._served.get(key, 0)
            self._served.renew(key, times + 1)
            if (
                times < MAX_SERVED
                and self.mcache.get(message_id) is not None
                and self._wishes.take(str(sender_peer_id), trio.current_time())
            ):
                ids.append(wire_id)
        if ids:
            await super().handle_iwant(rpc_pb2.ControlIWant(messageIDs=ids), sender_peer_id)

    def send_rpc(self, peer_id: ID, rpc: rpc_pb2.RPC, priority: bool = False) -> None:
        queue = self.pubsub.peer_queues.get(peer_id) if self.pubsub is not None else None
        if queue is not None:
            # The library packs up to 1 MiB into one frame; neighbours accept `MAX_RPC_BYTES`.
            queue.max_message_size = MAX_RPC_BYTES
        super().send_rpc(peer_id, rpc, priority)

    def _periodic_security_cleanup(self) -> None:
        super()._periodic_security_cleanup()
        # The library shortens these only in its adaptive gossip, which is off.
        self.recent_message_deliveries.clear()
        now = int(time.time())
        for topic, until in self.back_off.items():
            self.back_off[topic] = {peer: at for peer, at in until.items() if at > now}
