"""Company: what the user is told of connected peers that hold another base, once for each, and where nobody holds ours.

Such a peer is no fault and no reason to stop. What a peer says of its base in a greeting is a claim; all that hangs
on it here is a line for the user, and whether it answers for announcements that only peers of our base can check.
"""

from __future__ import annotations

from typing import Final

from peers.core.effects import Log
from peers.core.events import PeerId
from peers.core.others.connected.connected_peers import ConnectedPeers
from peers.core.others.connected.relation import OWN_FIELDS, Relations, mismatch
from peers.core.others.inbox import Inbox
from peers.core.others.standing.budgets import LINES_OF_SOURCE, Meter
from peers.core.terms import Terms
from trust.counting import counted
from trust.record.history import Note, Relation
from wire.bounded import BoundedDict
from wire.messages import Fingerprints

MAX_GREETED: Final = 1_000
"""Peers whose relation is remembered from their greeting; the earliest is forgotten first."""
LONELY_ROUNDS: Final = 2
"""Rounds of our own after which a user is told that nobody holds this base. Guess: announcements take time to come."""

_HELD: Final = {"base": "another base", "tokenizer": "another tokenizer", "layout": "another adapter layout"}
_TOGETHER: Final[dict[Relation, str]] = {
    "distils": "you learn from its predictions, and do not merge",
    "compares": "it and you compare predictions, and do not merge",
    "apart": "it and you have nothing to merge or to compare",
}


class Company:
    def __init__(
        self, me: PeerId, terms: Terms, relations: Relations, inbox: Inbox, connections: ConnectedPeers
    ) -> None:
        self._me = me
        self._terms = terms
        self._relations = relations
        self._inbox = inbox
        self._connections = connections
        self._greeted = BoundedDict[PeerId, Relation](MAX_GREETED)
        self._lines = Meter(LINES_OF_SOURCE)
        self._found_kin = False
        self._told_lonely = False

    def greeted(self, peer: PeerId, theirs: Fingerprints, now: float) -> list[Log]:
        """Take note of what a peer of this network says that it holds; a line where it is another base."""
        relation = self._relations.to(theirs)
        before = self._greeted.get(peer)
        self._greeted.renew(peer, relation)
        self._found_kin |= relation == "merges"
        if relation in ("merges", before) or not self._lines.take(self._connections.source(peer), now):
            return []
        field, why = mismatch(theirs, self._terms.fingerprints, OWN_FIELDS) or ("base", "")
        together = _TOGETHER[relation]
        if not self._relations.same_tokenizer(theirs) and self._terms.no_byte_rows:
            together += f", because {self._terms.no_byte_rows}"
        return [self._note(f"{peer} holds {_HELD[field]} ({field}: {why}): {together}")]

    def may_help(self, peer: PeerId) -> bool:
        """Whether, by what it said that it holds, its updates can be merged or its predictions distilled."""
        return self._greeted.get(peer) in ("merges", "distils")

    def is_foreign(self, peer: PeerId) -> bool:
        """Whether this peer said that it holds another base, tokenizer or layout."""
        return self._greeted.get(peer, "merges") != "merges"

    def lonely(self) -> list[Log]:
        """One line, once, where other peers are here and none of them can merge with this one."""
        if self._told_lonely or self._found_kin or self._inbox.turns < LONELY_ROUNDS:
            return []
        relations = {one.relation for one in self._inbox.newest()}
        if not relations or "merges" in relations:
            self._found_kin = bool(relations)
            return []
        self._told_lonely = True
        others = counted(sum(1 for _ in self._inbox.newest()), "peer")
        text = (
            f"nobody in this network holds your base and adapter layout: you can merge with nobody. {others} here "
            "with other ones; set [model] name and [adapter] in peer.toml as they have them to merge with them"
        )
        return [self._note(text)]

    def _note(self, text: str) -> Log:
        return Log(record=Note(peer=self._me, level="info", text=text[:500]))
