"""One process at a time has the home folder, and a dead one does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from peers.home.folder import Home
from support.homes import FILES, full_home
from trust.errors import UserMistake

HOLD = """
import sys
from pathlib import Path
from peers.home.folder import Home
with Home(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def holder(home: Home) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the folder until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_process_is_told_who_the_first_is(home: Home, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(UserMistake, match=f"in use by the process with pid {holder.pid};"), home.locked():
        pass


def test_a_process_that_was_killed_holds_nothing(home: Home, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with home.locked():
        assert (home.folder / "lock").read_text() == f"{os.getpid()}\n"


def test_the_folder_can_be_taken_again_and_again(home: Home) -> None:
    for _ in range(3):
        with home.locked():
            pass


def test_within_one_process_too_there_is_one_holder(home: Home) -> None:
    with home.locked(), pytest.raises(UserMistake, match=f"pid {os.getpid()}"), home.locked():
        pass


def test_of_many_that_race_exactly_one_wins(home: Home) -> None:
    start, go = os.pipe()
    end, done = os.pipe()
    told, tell = os.pipe()
    children: list[int] = []
    for _ in range(16):
        child = os.fork()
        if child == 0:
            os.close(done)
            os.read(start, 1)
            try:
                with home.locked():
                    os.write(tell, b"w")
                    os.read(end, 1)
            except UserMistake:
                os.write(tell, b"l")
            finally:
                os._exit(0)
        children.append(child)
    os.write(go, bytes(len(children)))
    outcome = b""
    while len(outcome) < len(children):
        outcome += os.read(told, len(children))
    os.close(done)
    for child in children:
        os.waitpid(child, 0)
    for descriptor in (start, go, end, told, tell):
        os.close(descriptor)

    assert sorted(outcome) == sorted(b"w" + 15 * b"l")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserMistake, match="cannot be opened for writing"), Home(tmp_path / "none").locked():
        pass


def test_a_folder_that_init_did_not_make_is_named_with_what_it_lacks(home: Home) -> None:
    with pytest.raises(UserMistake, match=r"has no peer\.toml"):
        home.check()
    home.config.touch()
    with pytest.raises(UserMistake, match=r"has no identity\.key"):
        home.check()
    home.identity.touch()
    home.check()
    with pytest.raises(UserMistake, match="gossipllm init"):
        Home(home.folder / "elsewhere").check()


def test_files_that_earlier_versions_left_readable_are_closed_to_others(home: Home) -> None:
    home.state.mkdir()
    files = [home.config, home.history, home.addresses, home.learner_log, home.state / "published"]
    for path in files:
        path.write_bytes(b"")
        path.chmod(0o644)

    home.close_to_others()

    assert [path.stat().st_mode & 0o777 for path in files] == [0o600] * len(files)


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777], ids=oct)
def test_every_file_and_folder_of_a_home_is_its_owners_alone_whatever_the_umask(
    tmp_path: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        home = full_home(tmp_path / "above" / "home", last=4)
    finally:
        os.umask(before)

    found = {path: path.stat().st_mode & 0o777 for path in (tmp_path / "above").rglob("*")}
    assert {str(path.relative_to(home.folder)) for path in found if path.is_file()} == set(FILES)
    assert all(mode == (0o600 if path.is_file() else 0o700) for path, mode in found.items()), found
    assert (tmp_path / "above").stat().st_mode & 0o777 == 0o700
