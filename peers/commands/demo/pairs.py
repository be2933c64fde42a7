"""What each two peers of the demo did for each other, from their histories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from rich import box
from rich.table import Table

from trust.record.history import Begun, Entry, PeerName, Relation, Round

Did: TypeAlias = Relation | None
"""None where they never met."""

_ITSELF: Final = "·"
_NEVER: Final = "never met"
_MEANING: Final[Mapping[Relation, str]] = {
    "merges": "mixes its adapter",
    "distils": "learns from its predictions",
    "compares": "measures its predictions and learns nothing from them",
    "apart": "can use nothing of it",
}


def pairs(entries: Mapping[str, Sequence[Entry]]) -> dict[str, dict[str, Did]]:
    """By name, peer -> other peer -> what the first did with what the second sent, in the last round that saw it."""
    ids = {name: _id(own) for name, own in entries.items()}
    found: dict[str, dict[str, Did]] = {}
    for name, own in entries.items():
        seen: dict[str, Relation] = {}
        for entry in own:
            if isinstance(entry.record, Round):
                seen |= {one.peer: one.relation for one in entry.record.seen}
        found[name] = {other: seen.get(peer) for other, peer in ids.items() if other != name}
    return found


def pairs_table(found: Mapping[str, Mapping[str, Did]]) -> Table:
    table = Table(title="what each does with the others", title_justify="left", box=box.SIMPLE_HEAD)
    for head in ("peer", *found):
        table.add_column(head)
    for name, others in found.items():
        cells = (_ITSELF if other == name else others[other] or _NEVER for other in found)
        table.add_row(name, *cells)
    return table


def pairs_meaning(found: Mapping[str, Mapping[str, Did]]) -> Iterator[str]:
    """A line for each relation in the table, with the number of its ordered pairs."""
    counts = Counter(did for others in found.values() for did in others.values() if did)
    for relation, meaning in _MEANING.items():
        if counts[relation]:
            yield f"{relation}: {meaning} ({counts[relation]} of {sum(map(len, found.values()))})"


def _id(entries: Sequence[Entry]) -> PeerName:
    return next(entry.record.peer for entry in entries if isinstance(entry.record, Begun))
