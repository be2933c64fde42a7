"""Writes a run as one table, in csv or parquet: a line for each (round, peer, from), where `from` may be the peer.

Both formats have the same columns. Of a round that was repeated after a crash, the last one counts.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from typing import Any, BinaryIO, Final, Literal, TypeAlias, cast

from trust.errors import UserMistake
from trust.extras import install_command
from trust.inspection.reading.naming import peer_names
from trust.names import escaped
from trust.progress import Done, silent
from trust.record.history import PeerName, Round, Seen
from trust.record.matrix import PeerRounds

Value: TypeAlias = int | float | str | None


@dataclass(frozen=True, slots=True)
class LongColumn:
    """A column of the table. `about` describes it, with its unit where there is one."""

    name: str
    kind: Literal["int", "float", "text"]
    about: str


COLUMNS: Final = (
    LongColumn("round", "int", "the peer's own count"),
    LongColumn("peer", "text", "id of who learns"),
    LongColumn("peer_name", "text", "its name"),
    LongColumn("from", "text", "id of whom it takes from; the peer itself in one line of each round"),
    LongColumn("from_name", "text", "its name"),
    LongColumn("weight", "float", "share, 0 to 1; those of a round sum to 1"),
    LongColumn("distance", "float", "by the strategy's first kind of evidence; empty for the peer itself"),
    LongColumn("error", "float", "standard error of the distance; empty for the peer itself"),
    LongColumn("age", "int", "rounds since its announcement came; empty for the peer itself"),
    LongColumn("train_loss", "float", "nats per token, of the round, the same in all its lines"),
    LongColumn("trust_alone", "float", "nats per token on the trust split before the merge"),
    LongColumn("trust_merged", "float", "nats per token on the trust split after the merge"),
    LongColumn("test_alone", "float", "nats per token on the test split before the merge"),
    LongColumn("test_merged", "float", "nats per token on the test split after the merge"),
    LongColumn("temperature", "float", "chosen, in units of the median distance; empty where there is none"),
    LongColumn("guard", "text", "alone, taken, shrunk, refused, returned or recalled"),
    LongColumn("relation", "text", "merges, distils, compares or apart; empty for the peer itself"),
)


def lines_of_run(
    known: Sequence[PeerRounds], *, at_round: int | None, done: Done = silent
) -> Iterator[tuple[Value, ...]]:
    """Lines of the table, ordered by round, then by the name of the peer. Numbers that are not finite are None.

    Calls `done(1)` after the lines of each peer's round, so that a progress bar follows the writer of the lines.
    """
    names = peer_names(known)
    shown = {peer: (escaped(peer), escaped(name)) for peer, name in names.items()}
    by_peer = {member.peer: member for member in known}
    order = [by_peer[peer] for peer in names if peer in by_peer]
    for number in sorted({number for member in known for number in member.rounds}):
        if at_round in (None, number):
            for record in (member.rounds.get(number) for member in order):
                if record is not None:
                    yield from _lines(record, shown)
                    done(1)


def write_csv(
    file: BinaryIO, known: Sequence[PeerRounds], *, at_round: int | None, done: Done = silent
) -> None:
    """Write UTF-8 text with a line of column names first. A number that is not known is an empty field.

    Texts that begin with = + - or @ get a ' before them: a spreadsheet would take them for formulas, and names of peers
    come from strangers.
    """
    text = TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(column.name for column in COLUMNS)
    for line in lines_of_run(known, at_round=at_round, done=done):
        writer.writerow(_formula_safe(value) if isinstance(value, str) else value for value in line)
    # `detach` flushes, and leaves `file` open for its owner.
    text.detach()


def write_parquet(
    file: BinaryIO, known: Sequence[PeerRounds], *, at_round: int | None, done: Done = silent
) -> None:
    """Write the table as parquet. Raises `UserMistake` where pyarrow is not installed."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise UserMistake(
            f"parquet needs pyarrow, which is not installed: {install_command('parquet')}"
        ) from None
    arrow, writer = cast("Any", pa), cast("Any", parquet)
    kinds = {"int": arrow.int64(), "float": arrow.float64(), "text": arrow.string()}
    fields = [arrow.field(c.name, kinds[c.kind], metadata={"about": c.about}) for c in COLUMNS]
    values: list[list[Value]] = [[] for _ in COLUMNS]
    for line in lines_of_run(known, at_round=at_round, done=done):
        for column, value in zip(values, line, strict=True):
            column.append(value)
    arrays = [arrow.array(column, field.type) for column, field in zip(values, fields, strict=True)]
    writer.write_table(arrow.Table.from_arrays(arrays, schema=arrow.schema(fields)), file)


def _lines(record: Round, shown: dict[PeerName, tuple[str, str]]) -> Iterator[tuple[Value, ...]]:
    losses = (
        record.train_loss,
        record.trust_alone,
        record.trust_merged,
        record.test_alone,
        record.test_merged,
        record.temperature,
    )
    about = (*(None if loss is None else _finite(loss) for loss in losses), record.guard)
    mine = (record.round, *shown[record.peer])
    yield (*mine, *shown[record.peer], _finite(record.self_weight), None, None, None, *about, None)
    for seen in record.seen:
        yield (*mine, *shown[seen.peer], *_measured(seen), *about, seen.relation)


def _measured(seen: Seen) -> tuple[Value, ...]:
    if seen.relation == "apart":
        return _finite(seen.weight), None, None, seen.age
    return _finite(seen.weight), _finite(seen.distance), _finite(seen.error), seen.age


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _formula_safe(text: str) -> str:
    return "'" + text if text.startswith(("=", "+", "-", "@")) else text
