"""The halves of a core whose learner is open, for tests that look inside."""

from __future__ import annotations

from peers.core.core import Core
from peers.core.others.neighbourhood import Neighbourhood
from peers.core.running import Running


def neighbourhood(core: Core) -> Neighbourhood:
    """What a running core knows of its neighbours."""
    phase = core._phase
    assert isinstance(phase, Running), "the learner is not open"
    return phase._others
