"""Settings of the whole suite: repeatable property tests, and one thread for each of several processes."""

from __future__ import annotations

import os

from hypothesis import settings

from gossipllm.deferred_imports import defer

# Before anything imports torch. Where pytest-xdist runs several processes, their threads would fight for the
# processors; processes that a test starts inherit the limit.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# As in the processes of a peer, so that the suite shows that nothing misses what they defer.
defer()

# Every run sees the same examples, and none fails because a machine is busy.
settings.register_profile("full", derandomize=True, deadline=None)
settings.register_profile("fast", settings.get_profile("full"), max_examples=40)
settings.load_profile("fast")
