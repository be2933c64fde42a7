"""A screen of a conversation that remembers."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class RememberingScreen:
    """A screen that keeps what was written on it."""

    written: str = ""
    notes: list[str] = field(default_factory=list)
    headings: list[str] = field(default_factory=list)

    def write(self, piece: str) -> None:
        self.written += piece

    def note(self, line: str) -> None:
        self.notes.append(line)

    def heading(self, line: str) -> None:
        self.headings.append(line)
