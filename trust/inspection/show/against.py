"""Compares a trust matrix with a known one: a CSV file, or the `metrics.json` of a simulation, which has its oracle.

CSV: the first row holds a cell that is ignored and then the names of the columns; the first cell of each further row
names the row, the rest are weights of 0 or more. Each row is divided by its sum.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from trust.errors import UserMistake
from trust.inspection.reading.files import find_peer
from trust.inspection.reading.summary import Against, Summary
from trust.names import escaped
from trust.record.measures import FLOOR, distance, divergences, floored, rank_correlations
from trust.rows.evidence import F64

_NAMES_SHOWN = 8


@dataclass(frozen=True, slots=True, eq=False)
class Oracle:
    """A known trust matrix. `rows_NN[i, j]` is the weight that `names[i]` should give `names[j]`; rows sum to 1."""

    names: tuple[str, ...]
    rows_NN: F64


class _MetricsPeer(msgspec.Struct):
    name: str


class _Metrics(msgspec.Struct):
    """The fields of a simulation's `metrics.json` that are used here."""

    oracle: list[list[float]]
    peers: list[_MetricsPeer]


def read_oracle(path: Path) -> Oracle:
    """Read a known matrix from CSV or `metrics.json`. Raises a `UserMistake` that names the wrong place in the file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserMistake(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserMistake(f"{path} is no text: byte {error.start} is not UTF-8") from None
    return _from_metrics(path, text) if text.lstrip().startswith("{") else _from_csv(path, text)


def with_comparison(shown: Summary, oracle: Oracle, path: Path) -> Summary:
    """`shown` with `against` filled in, and with the divergence and correlation of each row.

    The oracle calls peers by name or id. A peer that only the oracle has counts as one to which no peer gives weight.
    Raises `UserMistake` for a peer that the oracle lacks.
    """
    place = _places(shown, oracle, path)
    count = len(shown.peers) + sum(known is None for known in place)
    strangers = iter(range(len(shown.peers), count))
    at = [next(strangers) if known is None else known for known in place]
    truth_PP = np.full((count, count), np.nan)
    truth_PP[np.ix_(at, at)] = oracle.rows_NN
    rows_PP = np.full((count, count), np.nan)
    known_P = [place for place, row_P in enumerate(shown.square_PP) if not np.isnan(row_P).any()]
    # A peer that only the oracle has gets weight 0 in every known row.
    rows_PP[known_P] = 0.0
    rows_PP[known_P, : len(shown.peers)] = shown.square_PP[known_P]
    divergence_P = divergences(floored(truth_PP), floored(rows_PP))
    correlation_P = rank_correlations(truth_PP, rows_PP)
    number = {peer.peer: index for index, peer in enumerate(shown.peers)}
    return msgspec.structs.replace(
        shown,
        rows=tuple(
            msgspec.structs.replace(
                row,
                divergence=float(divergence_P[number[row.peer]]),
                correlation=float(correlation_P[number[row.peer]]),
            )
            for row in shown.rows
        ),
        against=Against(
            path=escaped(str(path), 4096),
            floor=FLOOR,
            divergence=_mean(divergence_P),
            correlation=_mean(correlation_P),
            frobenius=distance(truth_PP, rows_PP),
        ),
    )


def _places(shown: Summary, oracle: Oracle, path: Path) -> list[int | None]:
    """For each of the oracle's names its index among the peers shown, None for a peer that is not shown."""
    peers = [(peer.peer, peer.name) for peer in shown.peers]
    number = {peer: index for index, (peer, _) in enumerate(peers)}
    known = {text for pair in peers for text in pair}
    place = [number[find_peer(name, peers)] if name in known else None for name in oracle.names]
    if len(found := [index for index in place if index is not None]) > len(set(found)):
        twice = next(index for index in found if found.count(index) > 1)
        raise UserMistake(
            f"{path} has {escaped(peers[twice][1] or peers[twice][0])} twice: by name and by id"
        )
    lacking = [name or peer for index, (peer, name) in enumerate(peers) if index not in place]
    if lacking:
        raise UserMistake(f"{path} lacks {_listed(lacking)}; call peers by their names or ids")
    return place


def _from_csv(path: Path, text: str) -> Oracle:
    # A quoted cell may hold line ends, so rows are not lines: `line_num` is the line in which a row ends.
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        rows.extend((reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row))
    except csv.Error as error:
        raise UserMistake(f"{path}, line {reader.line_num}: {error}") from None
    if len(rows) < 2:
        raise UserMistake(
            f"{path} holds no matrix; its first row must name the peers, and one row follow for each"
        )
    (line, head), *body = rows
    names = _distinct_names(
        path, [(f"line {line}, column {column}", name) for column, name in enumerate(head[1:], start=2)]
    )
    owners = _distinct_names(path, [(f"line {line}, column 1", row[0]) for line, row in body])
    for expected, present, what in ((names, owners, "row"), (owners, names, "column")):
        if lacking := [name for name in expected if name not in set(present)]:
            raise UserMistake(f"{path} is not square: there is no {what} for {_listed(lacking)}")
    weights = {row[0]: _weights(path, line, row, len(names)) for line, row in body}
    return Oracle(names, np.array([weights[name] for name in names]))


def _distinct_names(path: Path, names: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    seen: set[str] = set()
    for where, name in names:
        if not name or name in seen:
            wrong = f'"{escaped(name)}" stands there a second time' if name else "a peer's name is missing"
            raise UserMistake(f"{path}, {where}: {wrong}")
        seen.add(name)
    return tuple(name for _, name in names)


def _weights(path: Path, line: int, row: Sequence[str], count: int) -> list[float]:
    if len(row) != count + 1:
        raise UserMistake(f"{path}, line {line}: {len(row)} columns, and the first row has {count + 1}")
    weights: list[float] = []
    for column, cell in enumerate(row[1:], start=2):
        weight = _number(cell)
        if weight is None:
            raise UserMistake(f'{path}, line {line}, column {column}: "{escaped(cell)}" is no weight from 0')
        weights.append(weight)
    return _shares(weights, f"{path}, line {line}")


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if value >= 0 and math.isfinite(value) else None


def _from_metrics(path: Path, text: str) -> Oracle:
    try:
        metrics = msgspec.json.decode(text, type=_Metrics)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UserMistake(f"{path} is no metrics.json of a simulation: {escaped(str(error))}") from None
    names = _distinct_names(
        path, [(f"peers[{place}]", peer.name) for place, peer in enumerate(metrics.peers)]
    )
    if not names or [len(row) for row in metrics.oracle] != [len(names)] * len(names):
        raise UserMistake(
            f"{path}: oracle must have {len(names)} rows of as many weights, one for each of its peers"
        )
    for place, row in enumerate(metrics.oracle):
        if not all(weight >= 0 and math.isfinite(weight) for weight in row):
            raise UserMistake(f"{path}: oracle[{place}] must be weights from 0")
    return Oracle(
        names,
        np.array([_shares(row, f"{path}: oracle[{place}]") for place, row in enumerate(metrics.oracle)]),
    )


def _shares(weights: Sequence[float], where: str) -> list[float]:
    whole = math.fsum(weights)
    if not (whole > 0 and math.isfinite(whole)):
        raise UserMistake(f"{where}: the weights of a row must have a sum above 0")
    return [weight / whole for weight in weights]


def _mean(values: F64) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(escaped(name) for name in names[:_NAMES_SHOWN]) + more
