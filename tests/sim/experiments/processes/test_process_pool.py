"""The pool of worker processes: results, errors, and no process left behind."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from sim.experiments.processes.process_pool import Advanced, Finished, TaskFailedError, perform_all
from trust.errors import UserMistake

TASKS = """
import os, time
from trust.errors import UserMistake

def perform(task, advanced):
    match task:
        case "twice":
            advanced(1)
            advanced(2)
            return os.getpid(), os.environ["OMP_NUM_THREADS"]
        case "mistaken":
            raise UserMistake("mend this")
        case "broken":
            raise KeyError("nobody expected this")
        case "dead":
            os._exit(3)
        case "slow":
            advanced(os.getpid())
            time.sleep(600)
"""


@pytest.fixture
def function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "tasks_of_this_test.py").write_text(TASKS)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return "tasks_of_this_test:perform"


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_one_process_takes_tasks_in_turn_with_one_thread(function: str) -> None:
    news = list(perform_all(function, ["twice"] * 3, jobs=1))
    assert [one for one in news if isinstance(one, Advanced)] == [
        Advanced(n, d) for n in range(3) for d in (1, 2)
    ]
    results = [one.result for one in news if isinstance(one, Finished)]
    assert len(results) == 3
    assert len(set(results)) == 1
    assert results[0][1] == "1"
    assert not alive(results[0][0])


@pytest.mark.parametrize(
    ("task", "error", "part"),
    [
        ("mistaken", UserMistake, "mend this"),
        ("broken", TaskFailedError, "nobody expected this"),
        ("dead", TaskFailedError, "exit code 3"),
    ],
)
def test_what_goes_wrong_in_a_process_is_raised_here(
    function: str, task: str, error: type[Exception], part: str
) -> None:
    with pytest.raises(error, match=part):
        list(perform_all(function, [task], jobs=1))


def test_a_caller_that_stops_early_leaves_no_process_behind(function: str) -> None:
    news = perform_all(function, ["slow", "slow"], jobs=2)
    processes = [one.done for one in (next(news), next(news)) if isinstance(one, Advanced)]
    assert len(processes) == 2
    assert all(map(alive, processes))
    began = time.monotonic()
    news.close()
    assert not any(map(alive, processes))
    assert time.monotonic() - began < 5
