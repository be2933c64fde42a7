"""Saves under `strace`, which kills the process at a system call or lets the call fail.

By the kernel, then, what the fault-injecting layer of `test_interrupted_saves.py` plays.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from peers.home.store import StateStore
from support.records import entry_of, round_of
from support.states import filled_store, state_of
from trust.record.log import read_history
from trust.record.writer import HistoryWriter

CALLS = ("write", "writev", "fsync", "rename", "unlink", "ftruncate", "fchmod", "mkdir")
"""What a save does to the disk. Each kind is counted by itself; the start of Python does none of it."""
TESTS = Path(__file__).parents[2]
SAVE = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[1], str(Path(sys.argv[1]).parent)]
sys.dont_write_bytecode = True
from peers.home.store import StateStore
from support.records import entry_of, round_of
from support.states import state_of
from trust.record.writer import HistoryWriter
folder = Path(sys.argv[2])
StateStore(folder / "state").save(state_of(3))
with HistoryWriter(folder / "history.msgpack", peer="a", now=1.0, sync=True) as writer:
    writer.append(entry_of(round_of("a", 2, {})))
"""
MOST_CALLS = 12
"""A save makes fewer calls of each kind."""


def traced(folder: Path, call: str, what: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(
                "strace",
                "-f",
                "-o",
                str(folder / "trace"),
                "-e",
                f"trace={call}",
                "-e",
                f"inject={call}:{what}",
            ),
            *(sys.executable, "-B", "-c", SAVE, str(TESTS), str(folder)),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def works() -> bool:
    """Whether there is a strace that may trace and inject here."""
    if shutil.which("strace") is None:
        return False
    done = subprocess.run(
        ["strace", "-o", "/dev/null", "-e", "inject=fsync:error=EIO", "true"],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


@pytest.mark.battery
@pytest.mark.skipif(not works(), reason="needs strace, and the right to trace")
@pytest.mark.parametrize("what", ["signal=KILL", "error=ENOSPC", "error=EIO"])
def test_whatever_call_of_a_save_fails_the_old_or_the_new_is_there(tmp_path: Path, what: str) -> None:
    first = entry_of(round_of("a", 1, {}))
    met = 0
    for call in CALLS:
        for at in range(1, MOST_CALLS):
            folder = tmp_path / f"{call}-{at}"
            folder.mkdir()
            filled_store(folder / "state", 1, 2)
            with HistoryWriter(folder / "history.msgpack", peer="a", now=0.0) as writer:
                writer.append(first)

            done = traced(folder, call, f"{what}:when={at}")

            found = StateStore(folder / "state").load()
            assert found.saved in (state_of(2), state_of(3)), (call, at)
            assert found.notes == (), (call, at)
            entries = read_history(folder / "history.msgpack").entries
            assert entries[:1] == (first,), (call, at)
            assert not list((folder / "state").glob(".*.part"))
            trace = (folder / "trace").read_text()
            if "INJECTED" not in trace and "SIGKILL" not in trace:
                assert done.returncode == 0, done.stderr
                assert found.saved == state_of(3)
                assert len(entries) == 2
                break
            met += 1
        else:
            raise AssertionError(f"the save does not end: {call}")
    assert met > 8
