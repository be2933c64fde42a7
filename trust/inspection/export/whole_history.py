"""A run as one JSON document: every record as it stands in the histories.

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
"""Characters kept of a text: more than any that this program writes."""


class WholeHistory(msgspec.Struct, frozen=True, kw_only=True):
    """The whole document. The records' fields are described in `trust.record.history`; `record.kind` says which it is.

    Numbers that are not finite are null; fields of `record.seen[]` that have their default value are left out.
    """

    schema: int = SCHEMA
    round: int | None
    peers: tuple[PeerSummary, ...]
    entries: tuple[Entry, ...]
    files: tuple[FileSummary, ...]


def write_json(file: BinaryIO, run: HistoryRun, *, at_round: int | None) -> None:
    """Only the rounds of that number where there is one."""
    names = peer_names(run.members)
    whole = WholeHistory(
        round=at_round,
        peers=tuple(PeerSummary(peer=escaped(peer), name=escaped(name)) for peer, name in names.items()),
        entries=tuple(
            msgspec.structs.replace(entry, record=_harmless(entry.record))
            for entry in run.entries
            if at_round is None or (isinstance(entry.record, Round) and entry.record.round == at_round)
        ),
        files=run.summaries,
    )
    file.write(msgspec.json.encode(whole) + b"\n")


def _harmless(record: Record) -> Record:
    """Texts escaped, where the file's writer did not."""
    texts = {
        name: _clean(value)
        for name in record.__struct_fields__
        if isinstance(value := getattr(record, name), str) and _clean(value) != value
    }
    if isinstance(record, Round):
        seen = tuple(map(_harmless_seen, record.seen))
        return msgspec.structs.replace(record, seen=seen, **texts)
    return msgspec.structs.replace(record, **texts) if texts else record


def _harmless_seen(one: Seen) -> Seen:
    peer, name = _clean(one.peer), _clean(one.name)
    if (peer, name) == (one.peer, one.name):
        return one
    return msgspec.structs.replace(one, peer=peer, name=name)


@lru_cache(maxsize=4096)
def _clean(text: str) -> str:
    return escaped(text, _LONGEST)
