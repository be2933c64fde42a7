"""State on disk: damage is found and named, and no round is announced twice."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gossipllm.pipe import Sender
from gossipllm.work import PushedShare
from peers.core.merge_inputs import MergeInput, MergeInputs
from peers.core.saved import Plan
from peers.home.merge_inputs import read_merge_inputs
from peers.home.store import StateStore
from support.states import filled_store, state_of
from trust.errors import UserMistake
from trust.files import write_whole
from wire.digest import Content, digest_of

GENERATIONS = 6
"""Three rounds: even generations begin one, odd ones announce it."""


# -- what is kept -----------------------------------------------------------------------------------


def test_a_home_that_never_ran_has_nothing(folder: Path) -> None:
    found = StateStore(folder).load()
    assert found.saved is None
    assert found.notes == ()


def test_what_was_saved_comes_back(
    folder: Path,
) -> None:
    filled_store(folder, 1)
    found = StateStore(folder).load()
    assert found.saved == state_of(1)
    assert found.saved is not None
    assert found.saved.snapshot is not None
    assert found.saved.snapshot.data == state_of(1).snapshot.data  # type: ignore[union-attr]
    assert found.notes == ()


def test_two_generations_are_kept_and_the_newer_one_counts(
    folder: Path,
) -> None:
    filled_store(folder, *range(1, GENERATIONS + 1))
    assert sorted(path.name for path in folder.iterdir()) == ["published", "state.0", "state.1"]
    assert StateStore(folder).load().saved == state_of(GENERATIONS)
    (folder / f"state.{GENERATIONS % 2}").unlink()
    assert StateStore(folder).load().saved is not None


def test_the_same_generation_may_be_saved_twice(
    folder: Path,
) -> None:
    filled_store(folder, 1, 2, 3, 3)
    assert StateStore(folder).load().saved == state_of(3)


def test_a_state_of_an_earlier_version_with_all_contents_in_one_file_is_read(folder: Path) -> None:
    filled_store(folder)
    pieces = Sender[object]().frame(state_of(3, size=1000))
    (folder / "state.1").write_bytes(b"".join((b"GLSTATE1", digest_of(*pieces), *pieces)))

    assert StateStore(folder).load().saved == state_of(3, size=1000)


def written_by(act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> int:
    """Bytes of the files that were written whole meanwhile."""
    sizes: list[int] = []

    def counted(path: Path, write: Any, **options: Any) -> None:
        write_whole(path, write, **options)
        sizes.append(path.stat().st_size)

    with monkeypatch.context() as patch:
        for module in ("contents", "sealed"):
            patch.setattr(f"peers.home.{module}.write_whole", counted)
        act()
    return sum(sizes)


def test_a_content_that_stays_is_written_once_for_each_slot(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = StateStore(folder)
    best = Content.of(b"best" * 10_000)

    def save(generation: int) -> int:
        state = msgspec.structs.replace(state_of(generation), best=best)
        return written_by(lambda: store.save(state), monkeypatch)

    first = [save(generation) for generation in (1, 2)]
    later = [save(generation) for generation in (3, 4, 5)]

    assert min(first) > best.size
    assert max(later) < best.size / 4
    assert StateStore(folder).load().saved == msgspec.structs.replace(state_of(5), best=best)
    # A store that has not read them does not know whether they are whole.
    assert written_by(lambda: StateStore(folder).save(state_of(6, size=1000)), monkeypatch) > 10_000


def test_contents_that_no_generation_names_are_removed(folder: Path) -> None:
    filled_store(folder, *range(1, 7), size=1000)
    named = {
        content.digest.hex()
        for generation in (5, 6)
        for content in (state_of(generation, size=1000).snapshot, state_of(generation, size=1000).update)
        if content is not None
    }

    assert {path.name.rpartition(".")[2] for path in folder.glob("content.*")} == named


def test_merge_inputs_take_no_bytes_for_what_the_state_has(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled_store(folder, 3, size=1000)
    state = state_of(3, size=1000)
    assert state.snapshot is not None
    assert state.update is not None
    member = MergeInput(
        peer="b", name="b", its_round=1, weight=0.5, update=Content.of(b"u" * 9000), evidence=None
    )
    inputs = MergeInputs(peer="a", round=1, snapshot=state.snapshot, self_weight=0.5, members=(member,))

    assert written_by(lambda: store.keep(inputs), monkeypatch) < 9000 + 1000
    store.save(state_of(5, size=1000))
    assert read_merge_inputs(folder) == inputs, "after the state has replaced its own"


def test_nobody_else_may_read_it(folder: Path) -> None:
    filled_store(folder, 1)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "state.1").stat().st_mode & 0o777 == 0o600


# -- damage -----------------------------------------------------------------------------------------


def test_every_flipped_byte_is_found_and_the_older_generation_serves(
    folder: Path,
) -> None:
    filled_store(folder, 3, 4)
    path = folder / "state.0"
    whole = path.read_bytes()
    places = sorted({*range(200), *range(0, len(whole), max(1, len(whole) // 300)), len(whole) - 1})
    assert len(places) >= 400
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        found = StateStore(folder).load()
        assert found.saved == state_of(3), f"byte {place}"
        assert "state.0" in found.notes[0]
        assert "using generation 3" in found.notes[0]


def test_every_flipped_byte_of_a_content_is_found_and_the_older_generation_serves(folder: Path) -> None:
    """The update of both generations is the same, in a file of each."""
    filled_store(folder, 3, 2, size=1000)
    (path,) = folder.glob("content.state.1.*" + state_of(3, size=1000).update.digest.hex())  # type: ignore[union-attr]
    whole = path.read_bytes()
    for place in (*range(0, len(whole), 97), len(whole) - 1):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        found = StateStore(folder).load()
        assert found.saved is not None
        assert found.saved.snapshot == state_of(2, size=1000).snapshot, f"byte {place}"
        assert f"state.1: {path.name}: checksum mismatch" in found.notes[0]
        assert "using generation 2" in found.notes[0]
    (aside,) = folder.glob("state.1.corrupt-*")
    assert aside.read_bytes() == path.read_bytes()
    path.unlink()
    assert f"state.1: {path.name} is missing" in StateStore(folder).load().notes[0]


def test_a_damaged_content_is_written_again_by_the_next_save_of_its_slot(folder: Path) -> None:
    filled_store(folder, 3, 4, size=1000)
    for path in folder.glob("content.state.1.*"):
        path.write_bytes(b"damaged")
    store = StateStore(folder)
    assert store.load().saved == state_of(4, size=1000)

    store.save(state_of(3, size=1000))

    (folder / "state.0").unlink()
    assert StateStore(folder).load().saved == state_of(3, size=1000)


def test_every_truncation_is_found(
    folder: Path,
) -> None:
    filled_store(folder, 3, 4)
    path = folder / "state.0"
    whole = path.read_bytes()
    for length in {*range(150), *range(0, len(whole), 97), len(whole) - 1}:
        path.write_bytes(whole[:length])
        assert StateStore(folder).load().saved == state_of(3), f"{length} bytes"
    path.write_bytes(whole + b"\0")
    assert StateStore(folder).load().saved == state_of(3)


def test_the_damaged_file_is_kept_once_however_often_it_is_found(folder: Path) -> None:
    filled_store(folder, 3, 4)
    (folder / "state.0").write_bytes(b"damaged")
    notes = [StateStore(folder).load().notes for _ in range(3)]
    aside = list(folder.glob("state.0.corrupt-*"))

    assert len(aside) == 1
    assert aside[0].read_bytes() == b"damaged"
    assert all(aside[0].name in note[0] for note in notes)


def test_who_only_looks_finds_the_same_and_leaves_everything_as_it_lies(
    folder: Path,
) -> None:
    assert StateStore.look(folder).saved is None
    assert not folder.exists()
    filled_store(folder, 3, 4)
    (folder / "state.0").write_bytes(b"damaged")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    found = StateStore.look(folder)

    assert found.saved == state_of(3)
    assert found.notes == ("state.0: not a state file; using generation 3",)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_who_only_looks_at_what_cannot_be_read_is_told_so(folder: Path) -> None:
    filled_store(folder, 3, 4)
    for path in (folder / "state.0", folder / "state.1"):
        path.write_bytes(b"damaged")

    with pytest.raises(
        UserMistake, match=r"state\.0: not a state file; state\.1: not a state file\)\. Restore"
    ):
        StateStore.look(folder)

    assert sorted(path.name for path in folder.iterdir()) == ["published", "state.0", "state.1"]


def test_a_full_disk_does_not_keep_a_peer_from_its_older_generation(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    filled_store(folder, 3, 4)
    (folder / "state.0").write_bytes(b"damaged")
    monkeypatch.setattr("peers.home.store.keep_aside", full)
    found = StateStore(folder).load()
    assert found.saved == state_of(3)
    assert "no copy could be kept (No space left on device)" in found.notes[0]


@pytest.mark.parametrize("damage", [b"", b"damaged", None])
def test_where_no_generation_can_be_read_the_owner_decides(folder: Path, damage: bytes | None) -> None:
    filled_store(folder, 3, 4)
    for path in (folder / "state.0", folder / "state.1"):
        path.write_bytes(damage) if damage is not None else path.unlink()
    for _ in range(2):
        with pytest.raises(UserMistake, match="gossipllm init NEW_FOLDER"):
            StateStore(folder).load()


def test_a_state_of_an_earlier_version_is_left_as_it_is_and_the_way_out_named(folder: Path) -> None:
    store = StateStore(folder)
    store.save(msgspec.structs.replace(state_of(2), version=1))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(
        UserMistake, match=r"an earlier version of gossipllm wrote this state.*gossipllm init"
    ):
        StateStore(folder).load()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_is_planned_pushed_and_counted_comes_back(folder: Path) -> None:
    share = PushedShare(peer="12D3", round=0, content=Content.of(b"mass"))
    rich = msgspec.structs.replace(
        state_of(1),
        shares=(share,),
        tokens_total=7,
        samples_total=3,
        importance=(0.5, None),
        measured=(2, 0),
        plan=Plan(b"\x03", 1),
    )
    StateStore(folder).save(rich)
    found = StateStore(folder).load().saved
    assert found == rich
    assert found is not None
    assert found.shares[0].content.data == b"mass"


def test_a_state_of_another_version_is_named(folder: Path) -> None:
    store = StateStore(folder)
    store.save(msgspec.structs.replace(state_of(2), version=9))
    with pytest.raises(UserMistake, match=r"written by another version \(9, this one reads 2\)"):
        store.load()


# -- no round twice ---------------------------------------------------------------------------------


def test_an_older_generation_does_not_announce_a_round_again(
    folder: Path,
) -> None:
    """Generation 5 announced round 2; generation 4 would train that round once more."""
    filled_store(folder, 3, 4, 5)
    (folder / "state.1").write_bytes(b"damaged")
    found = StateStore(folder).load().saved
    assert found is not None
    assert (found.round, found.stage) == (3, "training")
    assert found.snapshot == state_of(4).snapshot


def test_a_round_that_was_not_announced_is_gone_on_with(
    folder: Path,
) -> None:
    filled_store(folder, 3, 4)
    (folder / "state.0").unlink()
    found = StateStore(folder).load().saved
    assert found == state_of(3), "its announcement is made again, in the same bytes"


@pytest.mark.parametrize("torn", [*range(1, 40, 7), 39])
def test_a_torn_tail_of_the_list_hides_nothing_that_comes_later(
    folder: Path,
    torn: int,
) -> None:
    store = filled_store(folder, 1, 2)
    with (folder / "published").open("ab") as file:
        file.write(b"x" * torn)
    for generation in (3, 4, 5):
        store.save(state_of(generation))
    assert (folder / "published").stat().st_size == 3 * 40
    (folder / "state.1").write_bytes(b"damaged")
    found = StateStore(folder).load().saved
    assert found is not None
    assert found.round == 3


def test_a_damaged_record_of_the_list_is_passed_over(
    folder: Path,
) -> None:
    filled_store(folder, 1, 2, 3, 4)
    data = bytearray((folder / "published").read_bytes())
    data[3] ^= 0x40
    (folder / "published").write_bytes(data)
    (folder / "state.1").write_bytes(b"damaged")
    (folder / "state.0").write_bytes((folder / "state.0").read_bytes())
    found = StateStore(folder).load().saved
    assert found == state_of(4)


def test_a_short_write_of_the_list_is_an_error(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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

    store = filled_store(folder, 1, 2)
    opened: Callable[..., Any] = os.fdopen

    def short(*arguments: Any, **options: Any) -> Short:
        return Short(opened(*arguments, **options))

    monkeypatch.setattr("os.fdopen", short)
    with pytest.raises(OSError, match="the disk is full"):
        store.save(state_of(3))
    monkeypatch.undo()
    store.save(state_of(3))
    assert (folder / "published").stat().st_size == 2 * 40
