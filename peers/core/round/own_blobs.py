"""The blobs of this peer's own announcement: what its neighbours hear of and fetch."""

from __future__ import annotations

from peers.core.others.neighbourhood import Neighbourhood
from peers.core.round.planning import Planner
from peers.core.saved import Saved, announced_of
from wire.digest import Content


class OwnBlobs:
    """Those of the last announcement that was shown, and the contexts that this peer offers."""

    def __init__(self, others: Neighbourhood, planner: Planner) -> None:
        self._others = others
        self._planner = planner
        self._shown: tuple[Content, ...] = ()

    def show(self, saved: Saved) -> None:
        """From now on, neighbours hear of this announcement and fetch its blobs."""
        announced = announced_of(saved)
        predictions = announced.predictions
        beside = [share.content for share in saved.shares] + [one.content for one in saved.packed]
        self._shown = (announced.update, *predictions, *beside)
        self._others.fetching.showing.publish(frozenset(one.digest for one in predictions))
        self._others.set_own(saved.frame)
        self._others.fetching.contexts.want(self._planner.context_key(saved.plan))

    def blob(self, digest: bytes) -> Content | None:
        for content in self._shown:
            if content.digest == digest:
                return content
        return self._others.fetching.contexts.blob(digest)
