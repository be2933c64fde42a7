"""A running peer: the driver that performs the core's effects, the learner process, and the output."""
