"""Fixture that writes runs of toy networks to explain."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import pytest

from support.core_bench import RoundOptions
from support.toy_networks import WriteRun, write_run
from trust.inspection.reading.files import HistoryRun
from trust.record.history import Entry
from trust.rows.rows import TrustConfig


@pytest.fixture
def written(tmp_path: Path) -> WriteRun:
    """Function that writes a run into the folder of the test; call it once."""

    def write(what: TrustConfig | list[Entry], /, **rounds: Unpack[RoundOptions]) -> HistoryRun:
        return write_run(tmp_path, what, **rounds)

    return write
