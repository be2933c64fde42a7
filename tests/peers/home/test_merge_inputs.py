"""What a home keeps of its last merge: whole or not at hand, and nobody else's to read."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec
import pytest

from peers.core.merge_inputs import MergeInput, MergeInputs
from peers.home.config import PeerConfig, SelfConfig
from peers.home.folder import Home
from peers.home.merge_inputs import MERGE_INPUTS_FILE, read_merge_inputs, write_merge_inputs
from peers.identity import Identity
from peers.run.command import RunOptions, _opened
from wire.digest import Content


@pytest.fixture
def inputs() -> MergeInputs:
    """One neighbour's evidence is not there, and two have the same update."""
    update = Content.of(b"update" * 50)
    members = (
        MergeInput(
            peer="b", name="bert", its_round=7, weight=0.25, update=update, evidence=Content.of(b"evidence")
        ),
        MergeInput(peer="c", name="cleo", its_round=8, weight=0.0, update=update, evidence=None),
    )
    snapshot = Content.of(b"snapshot" * 50)
    return MergeInputs(peer="a", round=7, snapshot=snapshot, self_weight=0.75, members=members)


def test_what_was_kept_comes_back(tmp_path: Path, inputs: MergeInputs) -> None:
    write_merge_inputs(tmp_path, inputs)
    found = read_merge_inputs(tmp_path)
    assert found == inputs
    assert found is not None
    assert found.members[0].update.data == b"update" * 50


def test_the_inputs_of_the_next_merge_replace_them(tmp_path: Path, inputs: MergeInputs) -> None:
    write_merge_inputs(tmp_path, inputs)
    write_merge_inputs(tmp_path, msgspec.structs.replace(inputs, round=8))
    found = read_merge_inputs(tmp_path)
    assert found is not None
    assert found.round == 8
    assert [path.name for path in tmp_path.iterdir()] == [MERGE_INPUTS_FILE]


def test_nobody_else_may_read_it(tmp_path: Path, inputs: MergeInputs) -> None:
    write_merge_inputs(tmp_path, inputs)
    assert (tmp_path / MERGE_INPUTS_FILE).stat().st_mode & 0o777 == 0o600


def test_whatever_is_damaged_is_not_at_hand(tmp_path: Path, inputs: MergeInputs) -> None:
    assert read_merge_inputs(tmp_path) is None
    write_merge_inputs(tmp_path, inputs)
    path = tmp_path / MERGE_INPUTS_FILE
    whole = path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        assert read_merge_inputs(tmp_path) is None, f"byte {place}"
    for length in (0, 5, 39, 60, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert read_merge_inputs(tmp_path) is None, f"length {length}"


def test_that_of_another_version_is_not_at_hand(tmp_path: Path, inputs: MergeInputs) -> None:
    write_merge_inputs(tmp_path, msgspec.structs.replace(inputs, version=99))
    assert read_merge_inputs(tmp_path) is None


def test_a_full_disk_says_what_is_missing_and_leaves_the_last_one(
    tmp_path: Path, inputs: MergeInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_merge_inputs(tmp_path, inputs)

    def full(descriptor: int) -> None:
        del descriptor
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"the disk is full: need 0\.0 MB, .* MB free at"):
        write_merge_inputs(tmp_path, msgspec.structs.replace(inputs, round=8))
    monkeypatch.undo()
    assert read_merge_inputs(tmp_path) == inputs
    assert [path.name for path in tmp_path.iterdir()] == [MERGE_INPUTS_FILE]


def test_who_wants_none_kept_has_none_from_before(tmp_path: Path, inputs: MergeInputs) -> None:
    home = Home(tmp_path / "home")
    home.state.mkdir(parents=True)
    Identity.generate().save(home.identity)
    wanted, unwanted = (PeerConfig(peer=SelfConfig(keep_neighbours=keep)) for keep in (True, False))
    write_merge_inputs(home.state, inputs)

    _opened(home, wanted, RunOptions())
    assert read_merge_inputs(home.state) == inputs
    write_merge_inputs(home.state, msgspec.structs.replace(inputs, snapshot=Content.of(bytes(9000))))
    for _ in range(2):
        _opened(home, unwanted, RunOptions())
        assert not (home.state / MERGE_INPUTS_FILE).exists()
        assert not list(home.state.glob("content.*"))
