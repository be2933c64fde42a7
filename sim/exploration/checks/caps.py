"""Checks that a peer's memory, open requests and history stay bounded, whatever others send."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from gossipllm.work import Confirm, Evaluate, Fit, Merge
from peers.core.effects import Log, Pull
from peers.core.events import NotPulled, Pulled
from peers.core.others.admission import MAX_AUTHORS
from peers.core.others.blobs.pulls import MAX_OPEN
from sim.exploration.checks.violation import Watching
from sim.exploration.inside import items_of, walk
from sim.exploration.run import Explored
from sim.world.simulated_peer import SimulatedPeer
from sim.world.trace import Happened
from trust.record.history import Refusal
from wire.bounded import BoundedDict
from wire.digest import Content
from wire.messages import MAX_CONTEXTS

MOST_ITEMS = 1_100
"""Items of a container without a bound of its own: authors in the inbox (1,000) are the most that is meant."""
MOST_OF: Final = {"_authors": MAX_AUTHORS}
"""Name of a container -> its own bound: the ledger remembers many authors, each in a few bytes."""
MOST_HELD_BYTES = 64 * 2**20
WALK_EVERY_S = 20
MOST_REFUSALS_A_MINUTE = 620
"""Refusals that a minute may add to the history: `peers.core.others.standing.budgets.LINES`, burst and rate."""


class EverythingIsBounded(Watching):
    """Rows have at most the configured partners, fetches and containers are bounded, and so is the history."""

    def __init__(self) -> None:
        self._open: dict[tuple[int, int], set[int]] = {}
        self._refusals: dict[int, deque[float]] = {}
        self._samples = 0

    def see(self, node: SimulatedPeer, happened: Happened) -> Iterator[str]:
        pulls = self._open.setdefault((happened.peer, happened.life), set())
        if isinstance(happened.event, Pulled | NotPulled):
            pulls.discard(happened.event.request)
        most = node.config.round.most_partners
        for effect in happened.effects:
            match effect:
                case Pull(request=request):
                    pulls.add(request)
                    if len(pulls) > MAX_OPEN + MAX_CONTEXTS:
                        yield f"has {len(pulls)} fetches open"
                case Evaluate(updates=updates) | Fit(updates=updates) | Merge(updates=updates):
                    if len(updates) > most:
                        yield f"has {len(updates)} neighbours in a row, and most_partners is {most}"
                case Confirm(finalists=finalists) if len(finalists) > most:
                    yield f"tries {len(finalists)} neighbours, and most_partners is {most}"
                case Log(record=Refusal()):
                    yield from self._refused(node, happened.at)
                case _:
                    pass

    def _refused(self, node: SimulatedPeer, at: float) -> Iterator[str]:
        times = self._refusals.setdefault(node.index, deque())
        times.append(at)
        while times[0] < at - 60:
            times.popleft()
        if len(times) > MOST_REFUSALS_A_MINUTE:
            yield f"writes {len(times)} refusals into its history within a minute"

    def sample(self, explored: Explored) -> Iterator[tuple[SimulatedPeer, str]]:
        self._samples += 1
        if self._samples % WALK_EVERY_S:
            return
        for node in explored.honest:
            if node.alive:
                for text in _too_large(node):
                    yield node, text


def _too_large(node: SimulatedPeer) -> Iterator[str]:
    held = 0
    contents: set[int] = set()
    for name, one in walk(node.core):
        items = items_of(one)
        for content in items:
            if isinstance(content, Content) and id(content) not in contents:
                contents.add(id(content))
                held += content.size
        if isinstance(one, (dict, list, set)) and not isinstance(one, BoundedDict):
            count = len(items) // 2 if isinstance(one, dict) else len(items)
            if count > MOST_OF.get(name, MOST_ITEMS):
                yield f"holds {count} items in {name}"
    if held > MOST_HELD_BYTES:
        yield f"holds {held} bytes of contents"
