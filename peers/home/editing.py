"""Changes settings in a `peer.toml` and leaves everything else in it as its owner wrote it, comments included.

A setting that stands there gets its new value in its line; one that does not is added to the end of its table, which is
added where it is missing. The result is read back and compared before the file is replaced.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from gossipllm.config.toml import literal
from peers.home.config import config_of, load_config
from trust.errors import UserMistake
from trust.files import flush_folder, unwritten, write_whole

_TABLE = re.compile(r"\s*\[\s*([A-Za-z0-9_]+)\s*\]\s*(?:#.*)?$")


def change_settings(path: Path, changes: Mapping[str, object]) -> None:
    """Write these values, by dotted key, into the file. Raises `UserMistake`; the file is then unchanged."""
    load_config(path)
    text = changed_text(path.read_text(encoding="utf-8"), changes)
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        why = f"write {', '.join(changes)} yourself"
        raise UserMistake(f"{path}: is written so that it cannot be changed here ({error}); {why}") from None
    for key, value in changes.items():
        table, _, name = key.partition(".")
        if found.get(table, {}).get(name) != value:
            raise UserMistake(f"{path}: {key} cannot be set to {literal(value)} here; write it yourself")
    config_of(found, str(path))
    data = text.encode()
    try:
        write_whole(path, lambda file: file.write(data), mode=0o600, durable=True)
        flush_folder(path.parent)
    except OSError as error:
        raise UserMistake(unwritten(path, error)) from None


def changed_text(text: str, changes: Mapping[str, object]) -> str:
    lines = text.splitlines()
    for key, value in changes.items():
        table, _, name = key.partition(".")
        lines = _changed(lines, table, name, literal(value))
    return "\n".join(lines) + "\n"


def _changed(lines: list[str], table: str, name: str, value: str) -> list[str]:
    begin = next((at for at, line in enumerate(lines) if _table_of(line) == table), None)
    if begin is None:
        return [*lines, *([""] if lines and lines[-1].strip() else []), f"[{table}]", f"{name} = {value}"]
    end = next((at for at in range(begin + 1, len(lines)) if _table_of(lines[at]) is not None), len(lines))
    setting = re.compile(rf"(\s*{re.escape(name)}\s*=\s*)([^#]*?)(\s*#.*)?$")
    for at in range(begin + 1, end):
        if found := setting.match(lines[at]):
            return [*lines[:at], f"{found[1]}{value}{found[3] or ''}", *lines[at + 1 :]]
    # Before the blank lines and comments that lead to the next table.
    while end > begin + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    return [*lines[:end], f"{name} = {value}", *lines[end:]]


def _table_of(line: str) -> str | None:
    """The name of the table that this line begins, empty for one of another form; None where it begins none."""
    if found := _TABLE.match(line):
        return found[1]
    return "" if line.lstrip().startswith("[[") else None
