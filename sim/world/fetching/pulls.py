"""Fetching blobs in a simulated network.

A pull asks one source after the other, as devices do: a source without the blob, a source that is gone and a lost
answer each cost the time of asking. Sources that put the asker off are asked again after a pause.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from peers.core.effects import Effect, Pull
from peers.core.events import Event, NotPulled, PeerId, Pulled, Showed
from sim.world.agenda import Agenda
from sim.world.links.line import Line
from sim.world.simulated_peer import SimulatedPeer
from wire.digest import Content, digest_of

LATER_S: Final = (0.4, 0.8, 1.6, 3.2)
"""Pauses before sources that put the asker off are asked again: those of `peers.net.streams.blob_puller`."""


@dataclass(slots=True, eq=False)
class _Asking:
    """A pull in progress: the sources of this attempt, the index of the next one, and those that put the asker off. One
    call at a time is planned for it, so it is changed in place."""

    node: SimulatedPeer
    life: int
    pull: Pull
    sources: tuple[PeerId, ...]
    next: int = 0
    attempt: int = 0
    later: list[PeerId] = field(default_factory=list[PeerId])

    @property
    def lives(self) -> bool:
        return self.node.lives(self.life)


class Pulls:
    """The open pulls of one world. `outsiders` are blobs by digest of peers that are no cores and are always in reach;
    `tell` gives a peer an event."""

    def __init__(
        self,
        agenda: Agenda,
        line: Line,
        *,
        outsiders: Mapping[PeerId, Mapping[bytes, bytes]],
        tell: Callable[[SimulatedPeer, Event], Sequence[Effect]],
    ) -> None:
        self._agenda = agenda
        self._line = line
        self._outsiders = outsiders
        self._tell = tell

    def begin(self, node: SimulatedPeer, pull: Pull) -> None:
        self._ask(_Asking(node, node.life, pull, pull.sources))

    def _ask(self, asking: _Asking) -> None:
        """Ask the next source in reach."""
        node, digest = asking.node, asking.pull.digest
        for number, source in enumerate(asking.sources[asking.next :], asking.next):
            asking.next = number
            if source in self._outsiders:
                data = self._outsiders[source].get(digest)
                took = self._line.latency_s() + self._line.latency_s()
                self._agenda.after(
                    took, self._blob_came, asking, None if self._line.is_lost_by_chance() else data
                )
                return
            if source in node.links:
                self._agenda.after(self._line.latency_s(), self._asked, asking, node.links[source])
                return
        self._agenda.after(self._line.latency_s(), self._nobody_has, asking)

    def _asked(self, asking: _Asking, holder: SimulatedPeer) -> None:
        node, digest = asking.node, asking.pull.digest
        near = asking.lives and node.id in holder.links
        heard = near and not self._line.is_lost(node, holder)
        data = holder.core.blob(digest, node.id) if heard else None
        if data is None:
            if heard and holder.core.withholds(digest, node.id):
                asking.later.append(holder.id)
            self._agenda.after(self._line.latency_s(), self._blob_came, asking, None)
            return
        self._tell(holder, Showed(digest=digest, peer=node.id))
        took = self._line.sending_s(holder, "blob", len(data))
        self._agenda.after(took, self._blob_came, asking, None if self._line.is_lost(holder, node) else data)

    def _blob_came(self, asking: _Asking, data: bytes | None) -> None:
        if not asking.lives:
            return
        node, pull, source = asking.node, asking.pull, asking.sources[asking.next]
        if data is not None and (source in node.links or source in self._outsiders):
            node.received["blob"] += len(data)
            if len(data) == pull.size and digest_of(data) == pull.digest:
                self._tell(node, Pulled(request=pull.request, content=Content(pull.digest, data)))
                return
        asking.next += 1
        self._ask(asking)

    def _nobody_has(self, asking: _Asking) -> None:
        if not asking.lives:
            return
        if asking.later and asking.attempt < len(LATER_S):
            pause_s = LATER_S[asking.attempt]
            asking.sources, asking.later, asking.next = tuple(asking.later), [], 0
            asking.attempt += 1
            self._agenda.after(pause_s, self._ask, asking)
            return
        why = "all put it off" if asking.later else "nobody has it"
        self._tell(asking.node, NotPulled(request=asking.pull.request, why=why, later=bool(asking.later)))
