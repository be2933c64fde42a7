"""Writes what happens to a running peer into its history, and passes it on to the output.

Neither a full disk nor a closed terminal ends the work. Each failure is noted once where notes can still be read: that
of the output in the history, that of the history on the output, and there again when records can be written.
"""

from __future__ import annotations

import time
from pathlib import Path

from gossipllm.work import Progress
from peers.core.events import PeerId
from peers.net.host import NetworkTraffic
from peers.run.costs import CostMeter
from peers.run.printing.expecting import Expecting
from peers.run.printing.output import Output
from trust.counting import counted
from trust.files import free_space
from trust.record.history import Entry, Note, Record, Round, Traffic
from trust.record.writer import HistoryWriter


class RecordingWatcher:
    """The `Watcher` of a device. `path` is the history's, for messages; `me` is the peer whose history it is,
    `expecting` what follows the records of its last round, `costs` what measures the rounds."""

    def __init__(
        self,
        history: HistoryWriter,
        output: Output,
        *,
        path: Path,
        me: PeerId,
        expecting: Expecting | None = None,
        costs: CostMeter | None = None,
    ) -> None:
        self._history = history
        self._output = output
        self._path = path
        self._me = me
        self._expecting = expecting
        self._costs = costs
        self._lost = 0
        """Records that the history lacks since it was last written."""
        self._output_fails = False

    def report(self, record: Record, traffic: NetworkTraffic) -> None:
        if self._costs is not None and isinstance(record, Round):
            record = self._costs.costed(record, traffic)
        self._record(record, traffic)
        self._output.record(record, traffic)
        self._look_at_output(traffic)
        if self._expecting is not None and (note := self._expecting.after(record)) is not None:
            self.report(note, traffic)

    def progress(self, progress: Progress) -> None:
        self._output.progress(progress)

    def status(self, neighbours: int, traffic: NetworkTraffic) -> None:
        if self._costs is not None:
            self._costs.tick()
        self._output.status(neighbours, traffic)
        self._look_at_output(traffic)

    def _record(self, record: Record, traffic: NetworkTraffic) -> None:
        lost = self._lost
        try:
            if lost:
                text = f"{counted(lost, 'record')} before this one lost: the history could not be written"
                self._append(Note(peer=self._me, level="warning", text=text), traffic)
                self._lost = 0
            self._append(record, traffic)
        except OSError as error:
            self._lost += 1
            if not lost:
                why = error.strerror or str(error)
                text = f"{self._path}: {why} ({free_space(self._path)}); nothing is recorded until it can be written"
                self._output.record(Note(peer=self._me, level="warning", text=text[:500]), traffic)

    def _append(self, record: Record, traffic: NetworkTraffic) -> None:
        counted = Traffic(sent=dict(traffic.sent), received=dict(traffic.received))
        self._history.append(Entry(at_s=time.time(), traffic=counted, record=record))

    def _look_at_output(self, traffic: NetworkTraffic) -> None:
        why = self._output.failure
        if why and not self._output_fails:
            text = f"the output cannot be written ({why}); the peer goes on without it"
            self._record(Note(peer=self._me, level="warning", text=text), traffic)
        self._output_fails = self._output_fails or bool(why)
