"""Configuration files as text to share: comments are kept, network addresses are removed.

For several homes, the first file is shown whole, and of each other file only the settings that differ from it.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from sim.reporting.document import ConfigText
from trust.names import escaped

_ADDRESS = re.compile(r"/(?:ip4|ip6|ip6zone|dns|dns4|dns6|dnsaddr|unix)/(?!ADDRESS|\.\.\.)[^\s\"',\]\[]+")
"""A multiaddress. The examples in the comments of a peer.toml, such as /ip4/ADDRESS, are kept."""

_LONGEST = 60_000
"""Characters of a file that are kept; the rest is cut. A peer.toml with all settings and comments has 17,000."""


def configuration(files: Sequence[tuple[str, Path]]) -> tuple[ConfigText, ...]:
    """Texts of `files`, pairs of a name to show and a path. Files that cannot be read are left out."""
    found = [(name, text) for name, file in files if (text := _read(file)) is not None]
    if not found:
        return ()
    (name, first), *others = found
    texts = [ConfigText(path=name, text=first)]
    values = _values(first)
    for name, text in others:
        theirs = _values(text)
        # Without valid TOML there is nothing to compare, so the file is shown whole.
        differing = _differing(values, theirs) if values is not None and theirs is not None else text
        texts.append(ConfigText(path=name, text=differing or f"# as {found[0][0]}\n"))
    return tuple(texts)


def without_addresses(text: str) -> str:
    """The text with every multiaddress replaced by `(address left out)`."""
    return _ADDRESS.sub("(address left out)", text)


def _read(file: Path) -> str | None:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    lines = (escaped(line.expandtabs(4), _LONGEST) for line in text[:_LONGEST].splitlines())
    return without_addresses("\n".join(lines)) + "\n"


def _values(text: str) -> dict[str, object] | None:
    try:
        return dict(_flat(tomllib.loads(text)))
    except (tomllib.TOMLDecodeError, RecursionError):
        return None


def _flat(table: dict[str, Any], before: str = "") -> list[tuple[str, object]]:
    flat: list[tuple[str, object]] = []
    for key, value in table.items():
        if isinstance(value, dict):
            flat += _flat(cast("dict[str, Any]", value), f"{before}{key}.")
        else:
            flat.append((f"{before}{key}", value))
    return flat


def _differing(values: dict[str, object], theirs: dict[str, object]) -> str:
    absent = object()
    return "".join(
        f"{key} = {json.dumps(value, ensure_ascii=False, default=str)}\n"
        for key, value in theirs.items()
        if values.get(key, absent) != value
    )
