"""How a run was set up, as far as its folder says: name of a setting -> its value as text.

Where peers of one run differ, the values of all stand beside each other. Texts' paths and what belongs to one
device only (its name, its addresses) are left out.
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
"""The strategy is said by the history, where a simulation's method may have set it."""
_FINGERPRINTS: Final = ("reference", "layout")
"""Beside those of base and tokenizer, without which nothing can be compared."""

_UNREADABLE: Final = (msgspec.DecodeError, tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError)
"""What reading a file of anybody's may raise."""

_LONGEST: Final = 10_000
"""Characters of a value that are compared. Sources of text are a list of paths, which may be long."""


class SettingDifference(msgspec.Struct, frozen=True, kw_only=True):
    """One that differs; null where that side does not have it."""

    name: str
    first: str | None
    second: str | None


def differing_settings(
    ours: tuple[Side, HistoryRun], theirs: tuple[Side, HistoryRun]
) -> tuple[SettingDifference, ...]:
    """Of what both sides say anything about: a run whose folder holds no configuration differs in none of it."""
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
    known = [one for one in begun if one.trust]
    return (
        {"method": side.method} if side.method else {},
        _joined({"strategy": one.strategy, "merge": one.merge, **_fingerprints(one)} for one in begun),
        _joined({"gossipllm": one.program} for one in begun if one.program),
        _versions(side),
        _joined(_configurations(side, run)),
        _joined(
            {"guard": _text(one.guarded), "tokens_alpha came to": _text(one.alpha), **_trust(one)}
            for one in known
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
    """Nothing where there is nothing: not every run has a configuration beside it."""
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


def _joined(each: Iterable[Mapping[str, str]]) -> dict[str, str]:
    values: dict[str, set[str]] = {}
    for one in each:
        for name, value in one.items():
            values.setdefault(name, set()).add(escaped(value, _LONGEST))
    return {name: " | ".join(sorted(found)) for name, found in values.items()}
