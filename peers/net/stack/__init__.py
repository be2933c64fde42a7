"""The layers below the protocols: TCP, Noise, Yamux, and the host that is made of them."""
