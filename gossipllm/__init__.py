"""Language models that learn from each other's adapters, each on its own device, with no server.

This is the public face: learning itself (base models, adapters, data, training, merging, evaluation)
and the root of the command line. `peers` runs it over a network, `sim` in one process.
"""

__version__ = "0.1.0"
