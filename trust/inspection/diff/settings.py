"""Collects the settings of a run from its folder and its history, as name -> value in text, and compares two runs.

Where peers of one run differ, all of their values are joined. Paths of texts and the settings of a single device (its
name, its addresses) are left out.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from trust.inspection.diff.sides import Side
from trust.inspection.reading.files import HistoryRun
from trust.names import escaped
from trust.record.history import Begun

_LEFT_OUT: Final = ("name", "seeds", "methods", "peer", "network", "data.path", "trust.strategy")
"""Settings that are not compared. The strategy is taken from the history instead, because a simulation's method may
have set it."""
_FINGERPRINTS: Final = ("reference", "layout")
"""Fingerprints in `Begun` that are compared as settings. Those of base and tokenizer are checked elsewhere: runs that
differ in them cannot be compared."""

_UNREADABLE: Final = (msgspec.DecodeError, tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError)
"""Exceptions of decoding a file that may come from a stranger."""

_LONGEST: Final = 10_000
"""Characters of a value that are compared. The sources of text are a list of paths, which may be long."""


class SettingDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A setting that differs; null on a side that does not have it."""

    name: str
    first: str | None
    second: str | None


def differing_settings(
    ours: tuple[Side, HistoryRun], theirs: tuple[Side, HistoryRun]
) -> tuple[SettingDifference, ...]:
    """Settings that differ, out of the sources that both sides have: without a configuration in one of the folders, no
    setting of the configuration counts as different."""
    found: dict[str, SettingDifference] = {}
    for mine, other in zip(_sources(*ours), _sources(*theirs), strict=True):
        if not (mine and other):
            continue
        for name in dict.fromkeys((*mine, *other)):
            if mine.get(name) != other.get(name):
                found[name] = SettingDifference(name=name, first=mine.get(name), second=other.get(name))
    return tuple(found.values())


def _sources(side: Side, run: HistoryRun) -> tuple[dict[str, str], ...]:
    begun = [entry.record for entry in run.entries if isinstance(entry.record, Begun)]
    known = [record for record in begun if record.trust]
    return (
        {"method": side.method} if side.method else {},
        _joined(
            {"strategy": record.strategy, "merge": record.merge, **_fingerprints(record)} for record in begun
        ),
        _joined({"gossipllm": record.program} for record in begun if record.program),
        _versions(side),
        _joined(_configurations(side, run)),
        _joined(
            {"guard": _text(record.guarded), "tokens_alpha came to": _text(record.alpha), **_trust(record)}
            for record in known
        ),
    )


def _fingerprints(begun: Begun) -> dict[str, str]:
    return {name: getattr(begun, name)[:12] for name in _FINGERPRINTS}


def _trust(begun: Begun) -> dict[str, str]:
    try:
        return _flat({"trust": msgspec.json.decode(begun.trust, type=dict[str, Any])})
    except _UNREADABLE:
        return {}


def _versions(side: Side) -> dict[str, str]:
    if side.results is None:
        return {}
    try:
        lines = msgspec.json.decode(_read(side.results / "versions.json"), type=list[str])
    except _UNREADABLE:
        return {}
    return {escaped(name): escaped(version) for name, _, version in (line.partition(" ") for line in lines)}


def _configurations(side: Side, run: HistoryRun) -> Iterator[dict[str, str]]:
    homes = (file.parent / "peer.toml" for file in run.files)
    for path in (side.results / "scenario.toml",) if side.results else homes:
        try:
            yield _flat(tomllib.loads(_read(path).decode()))
        except _UNREADABLE:
            continue


def _read(path: Path) -> bytes:
    """The bytes of a file, empty where there is none: not every run has a configuration beside it."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in tree.items():
        name = prefix + key
        if name in _LEFT_OUT:
            continue
        if isinstance(value, dict):
            flat |= _flat(cast("dict[str, Any]", value), f"{name}.")
        else:
            flat[escaped(name)] = _text(value)
    return flat


def _text(value: object) -> str:
    return escaped(msgspec.json.encode(value).decode().strip('"'), _LONGEST)


def _joined(mappings: Iterable[Mapping[str, str]]) -> dict[str, str]:
    values: dict[str, set[str]] = {}
    for mapping in mappings:
        for name, value in mapping.items():
            values.setdefault(name, set()).add(escaped(value, _LONGEST))
    return {name: " | ".join(sorted(found)) for name, found in values.items()}
