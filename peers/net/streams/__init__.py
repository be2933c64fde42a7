"""Request-response protocols over libp2p streams: greetings, addresses and blobs."""
