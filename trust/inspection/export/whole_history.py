"""Writes a run as one JSON document that holds every record of its histories.

`schema` rises when a field changes its meaning or goes; new fields may come without that.
"""

from __future__ import annotations

from functools import lru_cache
from typing import BinaryIO, Final

import msgspec

from trust.inspection.reading.files import HistoryRun
from trust.inspection.reading.naming import peer_names
from trust.inspection.reading.summary import FileSummary, PeerSummary
from trust.names import escaped
from trust.record.history import Entry, Record, Round, Seen

SCHEMA: Final = 1
_LONGEST: Final = 10_000
"""Characters kept of a text; no text that this program writes is longer."""


class WholeHistory(msgspec.Struct, frozen=True, kw_only=True):
    """The whole document. `trust.record.history` describes the fields of records; `record.kind` names the type.

    Numbers that are not finite are null; fields of `record.seen[]` that have their default value are left out.
    """

    schema: int = SCHEMA
    round: int | None
    peers: tuple[PeerSummary, ...]
    entries: tuple[Entry, ...]
    files: tuple[FileSummary, ...]


def write_json(file: BinaryIO, run: HistoryRun, *, at_round: int | None) -> None:
    """Write the document; only the records of round `at_round`, or all records if it is None."""
    names = peer_names(run.members)
    whole = WholeHistory(
        round=at_round,
        peers=tuple(PeerSummary(peer=escaped(peer), name=escaped(name)) for peer, name in names.items()),
        entries=tuple(
            msgspec.structs.replace(entry, record=_escaped_record(entry.record))
            for entry in run.entries
            if at_round is None or (isinstance(entry.record, Round) and entry.record.round == at_round)
        ),
        files=run.summaries,
    )
    file.write(msgspec.json.encode(whole) + b"\n")


def _escaped_record(record: Record) -> Record:
    """`record` with all of its texts escaped: the writer of a stranger's history may not have escaped them."""
    texts = {
        name: _escaped(value)
        for name in record.__struct_fields__
        if isinstance(value := getattr(record, name), str) and _escaped(value) != value
    }
    if isinstance(record, Round):
        seen = tuple(map(_escaped_seen, record.seen))
        return msgspec.structs.replace(record, seen=seen, **texts)
    return msgspec.structs.replace(record, **texts) if texts else record


def _escaped_seen(seen: Seen) -> Seen:
    peer, name = _escaped(seen.peer), _escaped(seen.name)
    if (peer, name) == (seen.peer, seen.name):
        return seen
    return msgspec.structs.replace(seen, peer=peer, name=name)


@lru_cache(maxsize=4096)
def _escaped(text: str) -> str:
    return escaped(text, _LONGEST)
