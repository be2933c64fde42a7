"""The account of a text: what was read of it, what was left out and why, and what became of it in windows.

`gossipllm init`, `run`, `doctor` and `data show` print this account. Its lines hold counts, suffixes and reasons;
names of files only where they are asked for, because a running peer keeps its lines in its history.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from trust.counting import counted
from trust.names import escaped

_NOUN: Final = re.compile(r"\b(file|folder|link|part|record|document|conversation|character)\b")
"""The word of what happened that is in the plural where it happened more than once."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How often something happened, and the first place where it did: a file, or `file:line`."""

    what: str
    count: int
    first: str

    def line(self, *, names: bool) -> str:
        what = self.what if self.count == 1 else _NOUN.sub(r"\1s", self.what, count=1)
        return f"{self.count:,} {what}" + (f" ({self.first})" if names else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowCounts:
    """What became of the documents in windows of `length` tokens."""

    length: int
    train: int = 0
    trust: int = 0
    test: int = 0
    longer: int = 0
    """Documents that are longer than a window, which no window shows whole."""
    silent: int = 0
    """Windows in which no token bears loss, and which are left out."""
    rest: int = 0
    """Tokens at the end that fill no window, and are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextAccount:
    """What was read at a path. `left_out` are things that are not trained on, `mended` those that are, though something
    was wrong with them. Tokens and windows are unknown until the documents have been tokenised."""

    files: int
    documents: int
    answered: int = 0
    """Documents of which only the answers bear loss."""
    characters: int = 0
    left_out: tuple[Tally, ...] = ()
    mended: tuple[Tally, ...] = ()
    tokens: int = 0
    bearing: int = 0
    """Tokens that bear loss."""
    windows: WindowCounts | None = None
    estimated: bool = False
    """Whether tokens and windows are estimated from a part of the text."""

    def lines(self, *, names: bool = True) -> tuple[str, ...]:
        """The account for people, one to four lines."""
        return tuple(self._lines(names=names))

    def _lines(self, *, names: bool) -> Iterator[str]:
        about = "about " if self.estimated else ""
        read = f"text: {counted(self.files, 'file')}, {counted(self.documents, 'document')}"
        if self.tokens:
            read += f", {about}{counted(self.tokens, 'token')}"
        if self.answered and self.tokens:
            read += f", of which {100 * self.bearing / self.tokens:.0f} % bear loss (answers only)"
        yield read
        if self.left_out:
            yield "left out: " + "; ".join(one.line(names=names) for one in self.left_out)
        if self.mended:
            yield "noted: " + "; ".join(one.line(names=names) for one in self.mended)
        if self.windows is not None:
            yield _windows_line(self.windows, about)


def shown(path: Path | str) -> str:
    """A path for messages: also one whose name is not UTF-8 or has control characters can be printed."""
    return escaped(str(path), 400)


def _windows_line(windows: WindowCounts, about: str) -> str:
    line = (
        f"windows of {windows.length} tokens: {about}{windows.train:,} to train, {windows.trust:,} for trust, "
        f"{windows.test:,} to test"
    )
    if windows.longer:
        line += f"; {counted(windows.longer, 'document')} longer than a window, cut over several"
    if windows.silent:
        line += f"; {counted(windows.silent, 'window')} without an answer left out"
    if windows.rest:
        line += f"; {counted(windows.rest, 'token')} at the end left out"
    return line


@dataclass(slots=True)
class Counter:
    """Counts by what happened, in the order in which each first did."""

    _found: dict[str, Tally] = field(default_factory=dict[str, Tally])

    def add(self, what: str, where: str, count: int = 1) -> None:
        if count:
            before = self._found.get(what, Tally(what, 0, where))
            self._found[what] = Tally(what, before.count + count, before.first)

    def tallies(self) -> tuple[Tally, ...]:
        return tuple(self._found.values())
