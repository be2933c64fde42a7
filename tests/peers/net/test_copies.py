"""A host that meets its own key on a connection tells the peer above it, unless it met itself."""

from __future__ import annotations

import trio

from peers.commands.doctor.call import CallRefused, call
from peers.identity import Identity
from peers.net.addresses import parse_multiaddress
from peers.net.libp2p_host import open_network
from support.live_networks import quick
from support.networks import RecordingPeer, wait_until


async def test_a_copy_that_calls_is_refused_and_told_of_with_its_address() -> None:
    identity, peer = Identity.generate(), RecordingPeer()
    async with open_network(identity, peer, quick()) as network:
        address = parse_multiaddress(network.addresses[0])

        found = await call(identity, address, deadline_s=5.0)

        assert isinstance(found, CallRefused)
        await wait_until(lambda: bool(peer.faults))
        assert peer.faults[0] == (identity.peer_id, "identity", "127.0.0.1", 0.0)


async def test_a_dial_at_our_own_address_is_no_copy() -> None:
    """Another peer is thought to listen where this host listens now."""
    peer, gone = RecordingPeer(), Identity.generate()
    async with open_network(Identity.generate(), peer, quick()) as network:
        assert network._life is not None
        transport = network.addresses[0].partition("/p2p/")[0]

        refused = False
        try:
            with trio.fail_after(5):
                await network._life.dial(transport, gone.peer_id)
        except Exception:  # noqa: BLE001  whatever the library calls a wrong key
            refused = True

        assert refused
        assert peer.faults == []
