"""A save that is interrupted at any step, by a crash, a loss of power or a full disk, loses nothing."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from peers.core.saved import Saved
from peers.home.store import StateStore
from support.states import filled_store, state_of


def announced_again(found: Saved) -> int:
    """The next round that this state will announce with bytes not announced before."""
    return found.round + 1 if found.stage == "published" else found.round


STEPS = ("os.open", "os.fsync", "os.replace", "os.close")
"""The calls at which a save can be interrupted. Between them, memory only."""


class Interruption:
    """Runs `act` in place of the n-th call of any of `STEPS`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, act: Callable[[], None]) -> None:
        self._left, self._act = at, act
        for name in STEPS:
            monkeypatch.setattr(name, self._watched(getattr(os, name.removeprefix("os."))))

    def _watched(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*arguments: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                self._act()
            return call(*arguments, **options)

        return instead


def readable(folder: Path, generation: int) -> None:
    """The save of `generation` was interrupted: the state is that one or the one before, and no round repeats."""
    found = StateStore(folder).load()
    assert found.saved is not None
    assert found.notes == ()
    assert found.saved.generation in (generation - 1, generation)
    assert announced_again(found.saved) >= (generation - 1) // 2 + (generation + 1) % 2


@pytest.mark.parametrize("size", [300, 1000])
@pytest.mark.parametrize("generation", [2, 3, 4])
def test_killed_at_any_step_the_state_is_the_old_or_the_new(
    folder: Path,
    generation: int,
    size: int,
) -> None:
    filled_store(folder, *range(1, generation), size=size)
    killed, at = True, 0
    while killed:
        at += 1
        child = os.fork()
        if child == 0:
            try:
                Interruption(pytest.MonkeyPatch(), at, lambda: os.kill(os.getpid(), signal.SIGKILL))
                StateStore(folder).save(state_of(generation, size=size))
                os._exit(0)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status)
        assert killed or os.WEXITSTATUS(status) == 0
        readable(folder, generation)
    assert at > 6
    assert StateStore(folder).load().saved == state_of(generation, size=size)


class PowerCut(BaseException):
    """Everything stops."""


class Disk:
    """What of a folder survives a loss of power: contents as of their last fsync, names as of the folder's.

    The disk may have kept more than that, so each of the two is tried with and without what was not flushed.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._names = self._now()
        self._contents = {inode: (folder / name).read_bytes() for name, inode in self._names.items()}
        fsync = os.fsync

        def watched(descriptor: int) -> None:
            fsync(descriptor)
            status = os.fstat(descriptor)
            if os.path.samestat(status, folder.stat()):
                self._names = self._now()
            else:
                self._contents[status.st_ino] = Path(f"/proc/self/fd/{descriptor}").read_bytes()

        monkeypatch.setattr("os.fsync", watched)

    def _now(self) -> dict[str, int]:
        return {path.name: path.stat().st_ino for path in self._folder.iterdir()}

    def left(self, where: Path) -> Iterator[Path]:
        cached = {path.stat().st_ino: path.read_bytes() for path in self._folder.iterdir()}
        for i, names in enumerate((self._names, self._now())):
            for j, contents in enumerate((self._contents, {**self._contents, **cached})):
                left = where / f"{i}{j}"
                left.mkdir()
                for name, inode in names.items():
                    (left / name).write_bytes(contents.get(inode, b""))
                yield left


@pytest.mark.parametrize("size", [300, 1000])
@pytest.mark.parametrize("generation", [2, 3, 4])
def test_without_power_at_any_step_the_state_is_the_old_or_the_new(
    tmp_path: Path,
    generation: int,
    size: int,
) -> None:
    def cut() -> None:
        raise PowerCut

    at, over = 0, False
    while not over:
        at += 1
        folder = tmp_path / f"state{at}"
        filled_store(folder, *range(1, generation), size=size)
        with pytest.MonkeyPatch.context() as patches:
            disk = Disk(folder, patches)
            Interruption(patches, at, cut)
            try:
                StateStore(folder).save(state_of(generation, size=size))
                over = True
            except PowerCut:
                pass
        where = tmp_path / f"left{at}"
        where.mkdir()
        for left in disk.left(where):
            readable(left, generation)
            if over:
                assert StateStore(left).load().saved == state_of(generation, size=size)
    assert at > 6


def test_the_list_of_published_rounds_survives_from_its_first_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = StateStore(tmp_path / "state")
    disk = Disk(tmp_path / "state", monkeypatch)
    store.save(state_of(1))
    (tmp_path / "left").mkdir()
    for left in disk.left(tmp_path / "left"):
        assert (left / "published").stat().st_size == 40


def test_the_folder_itself_survives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the memory of what was published could be gone with it."""
    flushed: list[str] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        flushed.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", watched)
    StateStore(tmp_path / "state")
    assert flushed == [str(tmp_path)]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("generation", [3, 4])
def test_an_error_at_any_step_leaves_the_old_state_and_says_where(
    folder: Path,
    code: int,
    generation: int,
) -> None:
    store = filled_store(folder, *range(1, generation))

    def fail() -> None:
        raise OSError(code, os.strerror(code))

    for at in range(1, 7):
        with pytest.MonkeyPatch.context() as patches:
            Interruption(patches, at, fail)
            with pytest.raises(OSError, match=str(folder)) as caught:
                store.save(state_of(generation))
        assert caught.value.errno == code
        assert ("the disk is full" in str(caught.value)) == (code != errno.EIO)
        readable(folder, generation)
    store.save(state_of(generation))
    assert StateStore(folder).load().saved == state_of(generation)


def can_mount() -> bool:
    return os.name == "posix" and os.geteuid() == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """256 kB. Skipped where we may not mount."""
    where = tmp_path / "small"
    where.mkdir()
    if (
        not can_mount()
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(where)], check=False, capture_output=True
        ).returncode
    ):
        pytest.skip("needs the right to mount a tmpfs")
    yield where
    subprocess.run(["umount", str(where)], check=True)


def test_a_disk_that_is_really_full(
    small_disk: Path,
) -> None:
    store = filled_store(small_disk / "state", 1, 2)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(200_000))

    with pytest.raises(OSError, match=r"the disk is full: need 0\.1 MB, 0\.0 MB free at ") as caught:
        store.save(state_of(3, size=5_000))

    assert caught.value.errno == errno.ENOSPC
    assert StateStore(small_disk / "state").load().saved == state_of(2)
    assert not list((small_disk / "state").glob(".*.part"))
    filler.unlink()
    store.save(state_of(3, size=5_000))
    assert StateStore(small_disk / "state").load().saved == state_of(3, size=5_000)
