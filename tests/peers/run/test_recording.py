"""Neither a full disk nor a closed terminal ends the work, and each is noted once."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from gossipllm.work import Progress
from peers.net.host import NetworkTraffic
from peers.run.recording import RecordingWatcher
from trust.record.history import Entry, Note, Record
from trust.record.writer import HistoryWriter

NOTHING = NetworkTraffic(sent={}, received={})


class Screen:
    """An output that remembers, and fails when told."""

    def __init__(self) -> None:
        self.failure = ""
        self.shown: list[Record] = []

    def listening(self, peer: str, addresses: tuple[str, ...]) -> None: ...

    def record(self, record: Record, traffic: NetworkTraffic) -> None:
        self.shown.append(record)

    def progress(self, progress: Progress) -> None: ...

    def status(self, neighbours: int, traffic: NetworkTraffic) -> None: ...


class Disk:
    """A history that remembers, on a disk that fails when told."""

    def __init__(self) -> None:
        self.error: OSError | None = None
        self.written: list[str] = []

    def append(self, entry: Entry) -> None:
        if self.error is not None:
            raise self.error
        assert isinstance(entry.record, Note)
        self.written.append(entry.record.text)


def watching(tmp_path: Path) -> tuple[RecordingWatcher, Disk, Screen]:
    disk, screen = Disk(), Screen()
    watcher = RecordingWatcher(cast("HistoryWriter", disk), screen, path=tmp_path / "history", me="me")
    return watcher, disk, screen


def note(text: str) -> Note:
    return Note(peer="me", level="info", text=text)


def test_output_that_fails_is_noted_once_in_the_history(tmp_path: Path) -> None:
    watcher, disk, screen = watching(tmp_path)
    watcher.report(note("one"), NOTHING)
    screen.failure = "Input/output error"
    for text in ("two", "three"):
        watcher.report(note(text), NOTHING)
        watcher.status(3, NOTHING)

    said = "the output cannot be written (Input/output error); the peer goes on without it"
    assert disk.written == ["one", "two", said, "three"]


def test_a_history_that_fails_is_noted_once_on_the_output_and_again_when_it_can_be_written(
    tmp_path: Path,
) -> None:
    watcher, disk, screen = watching(tmp_path)
    disk.error = OSError(28, "No space left on device")
    for text in ("one", "two", "three"):
        watcher.report(note(text), NOTHING)
    disk.error = None
    watcher.report(note("four"), NOTHING)

    warnings = [one.text for one in screen.shown if isinstance(one, Note) and one.level == "warning"]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"{tmp_path / 'history'}: No space left on device (")
    assert "MB free" in warnings[0]
    assert disk.written == [
        "3 records before this one lost: the history could not be written",
        "four",
    ]
