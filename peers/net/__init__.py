"""The network of a peer: GossipSub for announcements, streams for everything larger, over libp2p."""
