"""Messages about bytes of a history that could not be read."""

from __future__ import annotations

from collections.abc import Iterable

from trust.inspection.reading.summary import FileSummary


def unread_lines(files: Iterable[FileSummary]) -> list[str]:
    """One line of text for each file whose end is torn."""
    return [
        f"{file.path}: {file.torn_bytes} bytes not read, {file.why} (normal while writing)"
        for file in files
        if file.torn_bytes
    ]
