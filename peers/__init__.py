"""One peer: a state machine without I/O, and, in named files, the network, the disk and the learner's process."""
