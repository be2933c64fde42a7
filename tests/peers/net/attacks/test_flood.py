"""A flood of everything at once against a real host and core, for some seconds: `benchmarks/flood.py` measures it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FLOOD = Path(__file__).parents[4] / "benchmarks" / "flood.py"


@pytest.mark.battery
def test_memory_history_and_deliveries_of_a_peer_under_a_flood_stay_within_their_goals() -> None:
    """The goal for stalls is tested with room to spare: other tests share the processors."""
    done = subprocess.run(
        [sys.executable, str(FLOOD), "--seconds", "15", "--json"],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    figures = json.loads(done.stdout)
    assert figures["memory_mib"] <= 64
    assert figures["history_mb_hour"] < 10
    assert figures["stall_p99_s"] < 0.25
    assert figures["heard"] >= 0.8 * figures["sent"] > 0
