"""Which files a path names, which of them are text by their names, and why the others are left out. Reads no file.

A file that the user names is taken whatever its name. In a folder, hidden and foreign files are left out: what systems
and editors put there (`._a.txt`, `.trash`, `__MACOSX`) is not what its owner wrote. Links to files are followed, links
to folders are not: they may lead in a circle or out of the folder.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from gossipllm.text.reading.account import Counter, Tally, shown
from trust.errors import UserMistake

MOST_BYTES: Final = 2**30
"""The largest file that is read. It is held in memory several times over. Guess."""

WANTED: Final = (
    "a .txt, .md, .csv, .tsv, .json, .jsonl or .parquet, packed by gzip or not, or a folder of such files"
)


class Format(Enum):
    """How the contents of a file are divided into documents."""

    PROSE = "prose"
    JSON = "json"
    JSON_LINES = "json lines"
    TABLE = "table"
    PARQUET = "parquet"


_FORMATS: Final = {
    **dict.fromkeys(
        (".txt", ".text", ".md", ".markdown", ".mdx", ".rst", ".org", ".adoc", ".asciidoc", ".tex", ".log"),
        Format.PROSE,
    ),
    **dict.fromkeys((".jsonl", ".ndjson", ".jsonlines"), Format.JSON_LINES),
    ".json": Format.JSON,
    ".csv": Format.TABLE,
    ".tsv": Format.TABLE,
    ".tab": Format.TABLE,
    ".parquet": Format.PARQUET,
}
PACKED: Final = frozenset({".gz", ".bz2", ".xz"})

_FOREIGN: Final = frozenset({"__macosx", "$recycle.bin", "system volume information", "lost+found", "trash"})
"""Folders of systems, whose contents their owner has not put there or has thrown away."""

_SUFFIX: Final = re.compile(r"\.(?=[\w~#-]*[a-z~#])[\w~#-]{1,10}", re.ASCII)
"""What counts as a suffix: "2026.05.01" and "Dr. Frank writes" have none."""


_LOCK: Final = "~$"
"""How the names of files begin that office programs put beside a document that is open."""


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file to read. `packing` is the suffix of the program that packed it, empty for none."""

    path: Path
    format: Format
    packing: str = ""
    named: bool = True
    """Whether the user named this very file, so that a fault of it is an error rather than a reason to leave it out."""


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """The files to read, sorted, and what else lies in the folder."""

    files: tuple[TextFile, ...]
    left_out: tuple[Tally, ...] = ()


def found_files(path: str, key: str = "data.path") -> FoundFiles:
    """The files that `path` names: itself, or those of a folder and its subfolders.

    Raises `UserMistake` where there is no such file or folder; `key` is the setting or flag that gave `path`.
    """
    if not path.strip():
        raise UserMistake(f"{key} is empty; name {WANTED}")
    place = Path(path).expanduser()
    try:
        mode = place.stat().st_mode
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        raise UserMistake(
            f"{key}: there is no file or folder {shown(place)}"
            if missing
            else f"{key}: {shown(place)}: {why}"
        ) from None
    if stat.S_ISDIR(mode):
        return _in_folder(place)
    if not stat.S_ISREG(mode):
        raise UserMistake(f"{key}: {shown(place)} is neither a file nor a folder")
    suffix, packing = suffixes(place.name)
    return FoundFiles((TextFile(place, _FORMATS.get(suffix, Format.PROSE), packing),))


def source_files(path: str, key: str = "data.path") -> list[Path]:
    """The paths of `found_files`. Raises `UserMistake` where there are none."""
    found = found_files(path, key)
    if not found.files:
        raise nothing_found(path, key, found.left_out)
    return [file.path for file in found.files]


def nothing_found(path: str, key: str, left_out: tuple[Tally, ...]) -> UserMistake:
    """The mistake of a path in which there is nothing to train on."""
    but = "; left out: " + "; ".join(one.line(names=True) for one in left_out) if left_out else ""
    return UserMistake(f"{key}: {shown(Path(path).expanduser())} holds no text{but}; name {WANTED}")


def suffixes(name: str) -> tuple[str, str]:
    """The suffix in lower case and that of a packing program behind it; each empty where there is none."""
    stem, last = _split(name)
    if last in PACKED:
        return _split(stem)[1], last
    return last, ""


def _split(name: str) -> tuple[str, str]:
    stem, dot, last = name.rpartition(".")
    suffix = (dot + last).lower()
    return (stem, suffix) if stem and _SUFFIX.fullmatch(suffix) else (name, "")


def _in_folder(folder: Path) -> FoundFiles:
    left_out = Counter()
    files = [
        file for path in sorted(_walked(folder, left_out)) if (file := _text_file(path, left_out)) is not None
    ]
    return FoundFiles(tuple(files), left_out.tallies())


def _walked(folder: Path, left_out: Counter) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        left_out.add("unreadable folder", shown(error.filename or folder))

    for at, folders, names in os.walk(folder, onerror=unreadable):
        kept: list[str] = []
        for name in sorted(folders):
            here = Path(at, name)
            if name.startswith(".") or name.lower() in _FOREIGN:
                left_out.add("hidden or system folder", shown(here))
            elif here.is_symlink():
                left_out.add("link to a folder", shown(here))
            else:
                kept.append(name)
        folders[:] = kept
        for name in sorted(names):
            if name.startswith((".", _LOCK)):
                left_out.add("hidden file", shown(Path(at, name)))
            else:
                yield Path(at, name)


def _text_file(path: Path, left_out: Counter) -> TextFile | None:
    """The file by its name and kind; None, and counted, where it is left out."""
    suffix, packing = suffixes(path.name)
    try:
        found = path.stat()
    except OSError as error:
        left_out.add(
            "broken link" if path.is_symlink() else f"file that cannot be read: {error.strerror}", shown(path)
        )
        return None
    if not stat.S_ISREG(found.st_mode):
        left_out.add("pipe or device file", shown(path))
    elif suffix and suffix not in _FORMATS:
        left_out.add(f"{suffix}{packing}", shown(path))
    elif not found.st_size:
        left_out.add("empty file", shown(path))
    elif found.st_size > MOST_BYTES:
        left_out.add(f"file of more than {MOST_BYTES >> 30} GiB", shown(path))
    else:
        return TextFile(path, _FORMATS.get(suffix, Format.PROSE), packing, named=False)
    return None
