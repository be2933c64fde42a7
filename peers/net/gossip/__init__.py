"""GossipSub of py-libp2p, hardened against what strangers can send."""
