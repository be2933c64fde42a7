"""The command `gossipllm sim`: help, lists, user errors, and small runs in separate processes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

PROGRAM = (sys.executable, "-m", "gossipllm.cli")
SMALL = """
name = "small"
peers = 3
seeds = [0]
methods = ["local", "s3"]
[data]
sources = ["embedded:fr", "embedded:de"]
window_tokens = 16
trust_windows = 2
test_windows = 2
[data.partition]
chunk_tokens = 32
train_tokens = 128
trust_tokens = 64
test_tokens = 64
[round]
steps = 1
rounds = 2
barrier = true
[training]
batch_windows = 2
warmup_steps = 1
[reference]
windows = 5
window_tokens = 4
"""


def program(*arguments: str, folder: Path, seed: str = "0") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONHASHSEED": seed, "COLUMNS": "100", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [*PROGRAM, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sim")
    (folder / "small.toml").write_text(SMALL, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def first(folder: Path) -> subprocess.CompletedProcess[str]:
    done = program("sim", "small.toml", "-o", "first", "-j", "1", folder=folder, seed="1")
    assert done.returncode == 0, done.stderr
    return done


def test_help_answers_without_torch(folder: Path) -> None:
    code = (
        "import sys; sys.argv = ['gossipllm', 'sim', '--help']\n"
        "from gossipllm.cli import main\n"
        "try: main()\n"
        "finally: print(sorted({'torch', 'transformers', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "gossipllm sim --list" in done.stdout
    assert done.stdout.endswith("[]\n")


def test_the_list_has_methods_changes_and_scenarios(folder: Path) -> None:
    text = program("sim", "--list", folder=folder).stdout
    for word in ("theoretical", "s3-code", "+updates", "languages", "s1*s3"):
        assert word in text


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--methods", "local,s33"], "did you mean s3?"),
        (["--seeds", "4..0"], "4..0 holds nothing"),
        (["--seeds", "a"], "must be like 0..4"),
        (["--set", "round.stepz=1"], "did you mean steps?"),
        (["--set", "layers.sampling=uniform"], "only methods +layers train block windows"),
        (["gone.toml"], "no such file"),
        (["small.toml", "-o", "."], "holds no results"),
        (["small.toml", "--set", 'data.sources=["gone.txt"]'], "gone.txt"),
        (["small.toml", "--set", 'data.sources=["embedded:fi"]'], "embedded text 'fi'"),
    ],
)
def test_a_user_error_ends_with_one_line_and_code_2(folder: Path, arguments: list[str], part: str) -> None:
    done = program("sim", *arguments, folder=folder)
    assert done.returncode == 2
    assert part in done.stderr
    assert done.stderr.count("\n") == 1


def test_equal_seeds_give_equal_bytes_in_another_process_with_another_hash_seed(
    folder: Path, first: subprocess.CompletedProcess[str]
) -> None:
    second = program("sim", "small.toml", "-o", "second", "-q", folder=folder, seed="2")
    digests = [re.findall(r"results (\w+), trace (\w+)", done.stdout) for done in (first, second)]
    assert digests[0] == digests[1] != []
    files = [
        {
            file.relative_to(folder / out): file.read_bytes()
            for file in sorted((folder / out).rglob("*"))
            if file.is_file() and file.name not in ("clock.json", "clocks.json")
        }
        for out in ("first", "second")
    ]
    assert files[0] == files[1]


def test_a_finished_run_is_not_repeated(folder: Path, first: subprocess.CompletedProcess[str]) -> None:
    assert "there already" not in first.stderr
    again = program("sim", "small.toml", "-o", "first", "--json", folder=folder)
    assert again.stderr.splitlines() == [
        f"{n} of 2: {m}, seed 0, there already" for n, m in ((1, "local"), (2, "s3"))
    ]
    table = json.loads(again.stdout)
    assert [row["method"] for row in table["methods"]] == ["local", "s3"]
    assert table["methods"][1]["against"]["local"]["n"] == 1


def test_a_run_leaves_the_history_that_peers_write(
    folder: Path, first: subprocess.CompletedProcess[str]
) -> None:
    shown = program("trust", "show", "first/s3/seed-0", "--json", folder=folder)
    assert {row["round"] for row in json.loads(shown.stdout)["rows"]} == {1}


def test_an_interrupt_keeps_finished_runs_and_leaves_no_process(folder: Path) -> None:
    # A shell ignores the interrupt in its background jobs, and programs inherit that, also through pytest.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [*PROGRAM, "sim", "small.toml", "-o", "cut", "--rounds", "5000", "-m", "local"],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    signal.signal(signal.SIGINT, handler)
    try:
        until = time.monotonic() + 60
        while not list((folder / "cut").glob("local/*.part")):
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "stopped; 0 of 1 runs are done" in errors
    while living(process.pid):
        assert time.monotonic() < until, living(process.pid)
        time.sleep(0.05)


def living(group: int) -> list[psutil.Process]:
    """Processes of a group, without zombies."""
    found: list[psutil.Process] = []
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(one.pid) == group and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
    return found
