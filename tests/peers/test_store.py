"""State on disk: damage is found and named, no crash at any step loses it, and no round is announced twice."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gossipllm.mistakes import UserMistake
from gossipllm.work import PushedShare
from peers.core.saved import LocalSteps, Plan, Saved, Standing
from peers.store import Store
from sim.toy import EVIDENCE, fingerprints
from wire.digest import Content

GENERATIONS = 6
"""Three rounds: even generations begin one, odd ones announce it."""


def state(generation: int, *, size: int = 300) -> Saved:
    """A peer's state as it would be: generation 2r+1 announces round r, 2r+2 begins round r+1."""
    round_, announces = divmod(generation, 2)
    update = Content.of(f"update {round_}".encode() * size)
    return Saved(
        generation=generation,
        round=round_,
        stage="published" if announces else "training",
        fingerprints=fingerprints(),
        snapshot=Content.of(f"snapshot {generation}".encode() * size),
        frame=f"frame {round_}".encode(),
        update=update,
        evidence=EVIDENCE,
        local=LocalSteps(tokens=1, samples=2, steps=3, train_loss=1.5, trust_loss=float("inf"), seconds=0.1),
        standings=(Standing("12D3", -60.0, 1e9, 2e9),),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


def filled(folder: Path, *generations: int) -> Store:
    store = Store(folder)
    for generation in generations:
        store.save(state(generation))
    return store


def announced_again(found: Saved) -> int:
    """The next round that this state will announce with bytes not announced before."""
    return found.round + 1 if found.stage == "published" else found.round


# -- what is kept -----------------------------------------------------------------------------------


def test_a_home_that_never_ran_has_nothing(folder: Path) -> None:
    found = Store(folder).load()
    assert found.saved is None
    assert found.notes == ()


def test_what_was_saved_comes_back(folder: Path) -> None:
    filled(folder, 1)
    found = Store(folder).load()
    assert found.saved == state(1)
    assert found.saved is not None
    assert found.saved.snapshot is not None
    assert found.saved.snapshot.data == state(1).snapshot.data  # type: ignore[union-attr]
    assert found.notes == ()


def test_two_generations_are_kept_and_the_newer_one_counts(folder: Path) -> None:
    filled(folder, *range(1, GENERATIONS + 1))
    assert sorted(path.name for path in folder.iterdir()) == ["published", "state.0", "state.1"]
    assert Store(folder).load().saved == state(GENERATIONS)
    (folder / f"state.{GENERATIONS % 2}").unlink()
    assert Store(folder).load().saved is not None


def test_the_same_generation_may_be_saved_twice(folder: Path) -> None:
    filled(folder, 1, 2, 3, 3)
    assert Store(folder).load().saved == state(3)


def test_nobody_else_may_read_it(folder: Path) -> None:
    filled(folder, 1)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "state.1").stat().st_mode & 0o777 == 0o600


# -- damage -----------------------------------------------------------------------------------------


def test_every_flipped_byte_is_found_and_the_older_generation_serves(folder: Path) -> None:
    filled(folder, 3, 4)
    path = folder / "state.0"
    whole = path.read_bytes()
    places = sorted({*range(200), *range(0, len(whole), max(1, len(whole) // 300)), len(whole) - 1})
    assert len(places) >= 400
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        found = Store(folder).load()
        assert found.saved == state(3), f"byte {place}"
        assert "state.0" in found.notes[0]
        assert "using generation 3" in found.notes[0]


def test_every_truncation_is_found(folder: Path) -> None:
    filled(folder, 3, 4)
    path = folder / "state.0"
    whole = path.read_bytes()
    for length in {*range(150), *range(0, len(whole), 97), len(whole) - 1}:
        path.write_bytes(whole[:length])
        assert Store(folder).load().saved == state(3), f"{length} bytes"
    path.write_bytes(whole + b"\0")
    assert Store(folder).load().saved == state(3)


def test_the_damaged_file_is_kept_once_however_often_it_is_found(folder: Path) -> None:
    filled(folder, 3, 4)
    (folder / "state.0").write_bytes(b"damaged")
    notes = [Store(folder).load().notes for _ in range(3)]
    aside = list(folder.glob("state.0.corrupt-*"))

    assert len(aside) == 1
    assert aside[0].read_bytes() == b"damaged"
    assert all(aside[0].name in note[0] for note in notes)


def test_a_full_disk_does_not_keep_a_peer_from_its_older_generation(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    filled(folder, 3, 4)
    (folder / "state.0").write_bytes(b"damaged")
    monkeypatch.setattr("shutil.copy2", full)
    found = Store(folder).load()
    assert found.saved == state(3)
    assert "no copy could be kept (No space left on device)" in found.notes[0]


@pytest.mark.parametrize("damage", [b"", b"damaged", None])
def test_where_no_generation_can_be_read_the_owner_decides(folder: Path, damage: bytes | None) -> None:
    filled(folder, 3, 4)
    for path in (folder / "state.0", folder / "state.1"):
        path.write_bytes(damage) if damage is not None else path.unlink()
    for _ in range(2):
        with pytest.raises(UserMistake, match="gossipllm init NEW_FOLDER"):
            Store(folder).load()


def test_a_state_of_an_earlier_version_is_left_as_it_is_and_the_way_out_named(folder: Path) -> None:
    store = Store(folder)
    store.save(msgspec.structs.replace(state(2), version=1))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(
        UserMistake, match=r"an earlier version of gossipllm wrote this state.*gossipllm init"
    ):
        Store(folder).load()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_is_planned_pushed_and_counted_comes_back(folder: Path) -> None:
    share = PushedShare(peer="12D3", round=0, content=Content.of(b"mass"))
    rich = msgspec.structs.replace(
        state(1),
        shares=(share,),
        tokens_total=7,
        samples_total=3,
        importance=(0.5, None),
        measured=(2, 0),
        plan=Plan(b"\x03", 1),
    )
    Store(folder).save(rich)
    found = Store(folder).load().saved
    assert found == rich
    assert found is not None
    assert found.shares[0].content.data == b"mass"


def test_a_state_of_another_version_is_named(folder: Path) -> None:
    store = Store(folder)
    store.save(msgspec.structs.replace(state(2), version=9))
    with pytest.raises(UserMistake, match=r"written by another version \(9, this one reads 2\)"):
        store.load()


# -- no round twice ---------------------------------------------------------------------------------


def test_an_older_generation_does_not_announce_a_round_again(folder: Path) -> None:
    """Generation 5 announced round 2; generation 4 would train that round once more."""
    filled(folder, 3, 4, 5)
    (folder / "state.1").write_bytes(b"damaged")
    found = Store(folder).load().saved
    assert found is not None
    assert (found.round, found.stage) == (3, "training")
    assert found.snapshot == state(4).snapshot


def test_a_round_that_was_not_announced_is_gone_on_with(folder: Path) -> None:
    filled(folder, 3, 4)
    (folder / "state.0").unlink()
    found = Store(folder).load().saved
    assert found == state(3), "its announcement is made again, in the same bytes"


@pytest.mark.parametrize("torn", [*range(1, 40, 7), 39])
def test_a_torn_tail_of_the_list_hides_nothing_that_comes_later(folder: Path, torn: int) -> None:
    store = filled(folder, 1, 2)
    with (folder / "published").open("ab") as file:
        file.write(b"x" * torn)
    for generation in (3, 4, 5):
        store.save(state(generation))
    assert (folder / "published").stat().st_size == 3 * 40
    (folder / "state.1").write_bytes(b"damaged")
    found = Store(folder).load().saved
    assert found is not None
    assert found.round == 3


def test_a_damaged_record_of_the_list_is_passed_over(folder: Path) -> None:
    filled(folder, 1, 2, 3, 4)
    data = bytearray((folder / "published").read_bytes())
    data[3] ^= 0x40
    (folder / "published").write_bytes(data)
    (folder / "state.1").write_bytes(b"damaged")
    (folder / "state.0").write_bytes((folder / "state.0").read_bytes())
    found = Store(folder).load().saved
    assert found == state(4)


def test_a_short_write_of_the_list_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A raw write to a disk that fills up writes what fits, and raises nothing."""

    class Short:
        def __init__(self, file: Any) -> None:
            self._file = file

        def __enter__(self) -> Short:
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

        def write(self, data: bytes) -> int:
            return self._file.write(data[:10])

    store = filled(folder, 1, 2)
    opened: Callable[..., Any] = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *a, **k: Short(opened(path, *a, **k)))
    with pytest.raises(OSError, match="the disk is full"):
        store.save(state(3))
    monkeypatch.undo()
    store.save(state(3))
    assert (folder / "published").stat().st_size == 2 * 40


# -- crashes and loss of power ----------------------------------------------------------------------

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
    found = Store(folder).load()
    assert found.saved is not None
    assert found.notes == ()
    assert found.saved.generation in (generation - 1, generation)
    assert announced_again(found.saved) >= (generation - 1) // 2 + (generation + 1) % 2


@pytest.mark.parametrize("generation", [2, 3, 4])
def test_killed_at_any_step_the_state_is_the_old_or_the_new(folder: Path, generation: int) -> None:
    filled(folder, *range(1, generation))
    killed, at = True, 0
    while killed:
        at += 1
        child = os.fork()
        if child == 0:
            try:
                Interruption(pytest.MonkeyPatch(), at, lambda: os.kill(os.getpid(), signal.SIGKILL))
                Store(folder).save(state(generation))
                os._exit(0)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status)
        assert killed or os.WEXITSTATUS(status) == 0
        readable(folder, generation)
    assert at > 6
    assert Store(folder).load().saved == state(generation)


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


@pytest.mark.parametrize("generation", [2, 3, 4])
def test_without_power_at_any_step_the_state_is_the_old_or_the_new(tmp_path: Path, generation: int) -> None:
    def cut() -> None:
        raise PowerCut

    at, over = 0, False
    while not over:
        at += 1
        folder = tmp_path / f"state{at}"
        filled(folder, *range(1, generation))
        with pytest.MonkeyPatch.context() as patches:
            disk = Disk(folder, patches)
            Interruption(patches, at, cut)
            try:
                Store(folder).save(state(generation))
                over = True
            except PowerCut:
                pass
        where = tmp_path / f"left{at}"
        where.mkdir()
        for left in disk.left(where):
            readable(left, generation)
            if over:
                assert Store(left).load().saved == state(generation)
    assert at > 6


def test_the_list_of_published_rounds_survives_from_its_first_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "state")
    disk = Disk(tmp_path / "state", monkeypatch)
    store.save(state(1))
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
    Store(tmp_path / "state")
    assert flushed == [str(tmp_path)]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("generation", [3, 4])
def test_an_error_at_any_step_leaves_the_old_state_and_says_where(
    folder: Path, code: int, generation: int
) -> None:
    store = filled(folder, *range(1, generation))

    def fail() -> None:
        raise OSError(code, os.strerror(code))

    for at in range(1, 7):
        with pytest.MonkeyPatch.context() as patches:
            Interruption(patches, at, fail)
            with pytest.raises(OSError, match=str(folder)) as caught:
                store.save(state(generation))
        assert caught.value.errno == code
        assert ("the disk is full" in str(caught.value)) == (code != errno.EIO)
        readable(folder, generation)
    store.save(state(generation))
    assert Store(folder).load().saved == state(generation)


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


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    store = filled(small_disk / "state", 1, 2)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(200_000))

    with pytest.raises(OSError, match=r"the disk is full: need 0\.1 MB, 0\.0 MB free at ") as caught:
        store.save(state(3, size=5_000))

    assert caught.value.errno == errno.ENOSPC
    assert Store(small_disk / "state").load().saved == state(2)
    assert not list((small_disk / "state").glob("*.new"))
    filler.unlink()
    store.save(state(3, size=5_000))
    assert Store(small_disk / "state").load().saved == state(3, size=5_000)
