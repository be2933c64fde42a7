"""Every file of a home, its save interrupted at each operation by a kill or an error: the old or the new is there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from gossipllm.model.adapter.export import export_adapter
from gossipllm.model.adapter.snapshots import Snapshot, SnapshotHeader, encode_snapshot
from peers.core.merge_inputs import MergeInput, MergeInputs
from peers.core.saved import Saved
from peers.home.config import PeerConfig, load_config
from peers.home.folder import Home
from peers.home.making import make_home
from peers.home.merge_inputs import read_merge_inputs, write_merge_inputs
from peers.home.published import read_published
from peers.home.store import StateStore
from peers.identity import Identity
from peers.net.addresses import Address
from peers.net.finding.book_file import read_book, write_book
from support.faulty_disk import ERRORS, KILLS, Fault, FaultyDisk, killed_at
from support.records import begun_of, entry_of, round_of
from support.states import filled_store, state_of
from trust.errors import UserMistake
from trust.files import write_output
from trust.record.blocked import BlockedPeer, read_blocked, write_blocked
from trust.record.history import Entry, Note
from trust.record.log import decoded, read_history
from trust.record.segments import HistoryLimits
from trust.record.writer import HistoryWriter
from wire.digest import Content

MOST_OPERATIONS = 60
"""A save has fewer; one that has not ended by then never meets its fault."""


@dataclass(frozen=True)
class Save:
    """A save of one file. `prepared` makes what was there before; `holds` asserts that the old or the new is there, and
    with `done` the new."""

    prepared: Callable[[Path], object]
    saved: Callable[[Path], object]
    holds: Callable[[Path, bool], None]


def _state(generation: int, *, size: int = 300) -> Save:
    def holds(folder: Path, done: bool) -> None:
        found = StateStore(folder / "state").load()
        wanted = [state_of(one, size=size) for one in (generation, *([] if done else [generation - 1]))]
        assert found.notes == ()
        if generation == 1 and not done and found.saved is None:
            return
        assert found.saved is not None
        assert _resumed(found.saved) in map(_resumed, wanted)
        assert found.saved.snapshot in [one.snapshot for one in wanted]
        announced = read_published(folder / "state" / "published").last
        assert _next_round(found.saved) > announced or found.saved.stage == "published"

    return Save(
        lambda folder: filled_store(folder / "state", *range(1, generation), size=size),
        lambda folder: StateStore(folder / "state").save(state_of(generation, size=size)),
        holds,
    )


def _resumed(saved: Saved) -> tuple[int, int]:
    return saved.generation, saved.round


def _next_round(saved: Saved) -> int:
    """The next round that this state announces with other bytes than before."""
    return saved.round + (saved.stage == "published")


def _mended_list() -> Save:
    def prepared(folder: Path) -> None:
        filled_store(folder / "state", *range(1, 7))
        path = folder / "state" / "published"
        path.write_bytes(path.read_bytes()[:40])

    def holds(folder: Path, done: bool) -> None:
        found = StateStore(folder / "state").load()
        assert found.saved == state_of(6)
        assert not (done and found.notes)
        assert StateStore(folder / "state").load().notes == ()

    return Save(prepared, lambda folder: StateStore(folder / "state").load(), holds)


def _inputs(round_: int, size: int) -> MergeInputs:
    """The snapshot is that of the round's state; the neighbour's update stays from round to round."""
    snapshot = state_of(2 * round_ + 1, size=size).snapshot
    assert snapshot is not None
    update = Content.of(b"neighbour" * size)
    member = MergeInput(peer="b", name="b", its_round=1, weight=0.5, update=update, evidence=None)
    return MergeInputs(peer="a", round=round_, snapshot=snapshot, self_weight=0.5, members=(member,))


def _merge_inputs(*, size: int = 10) -> Save:
    def prepared(folder: Path) -> None:
        write_merge_inputs(folder, _inputs(1, size))
        filled_store(folder, *range(1, 6), size=size)

    def holds(folder: Path, done: bool) -> None:
        found = read_merge_inputs(folder)
        assert found in ([_inputs(2, size)] if done else [_inputs(1, size), _inputs(2, size)])
        assert StateStore(folder).load().saved == state_of(5, size=size)

    return Save(prepared, lambda folder: write_merge_inputs(folder, _inputs(2, size)), holds)


def _made_home() -> Save:
    """An interrupted `init` is finished by the next one, with the identity that the first had written."""

    def holds(folder: Path, done: bool) -> None:
        home = Home(folder / "a" / "home")
        before = Identity.load(home.identity).peer_id if home.identity.exists() else None
        if home.config.exists():
            home.check()
        else:
            assert not done
            made = make_home(home, PeerConfig()).peer_id
            assert before in (None, made)
            before = made
        assert Identity.load(home.identity).peer_id == before
        assert load_config(home.config) == PeerConfig()

    return Save(lambda _: None, lambda folder: make_home(Home(folder / "a" / "home"), PeerConfig()), holds)


ROUNDS = [entry_of(round_of("a", number, {"b": 0.5})) for number in range(1, 4)]


def _append(path: Path, *entries: Entry) -> None:
    with HistoryWriter(path, peer="a", now=1.0, sync=True) as writer:
        for entry in entries:
            writer.append(entry)


def _rounds_in(path: Path) -> list[Entry]:
    return [entry for entry in read_history(path).entries if not isinstance(entry.record, Note)]


def _history() -> Save:
    def holds(folder: Path, done: bool) -> None:
        path = folder / "history.msgpack"
        assert _rounds_in(path) in ([ROUNDS] if done else [ROUNDS[:2], ROUNDS])
        before = _rounds_in(path)
        _append(path, ROUNDS[0])
        assert _rounds_in(path) == [*before, ROUNDS[0]]

    return Save(
        lambda folder: _append(folder / "history.msgpack", *ROUNDS[:2]),
        lambda folder: _append(folder / "history.msgpack", ROUNDS[2]),
        holds,
    )


def _repaired_history() -> Save:
    def prepared(folder: Path) -> None:
        path = folder / "history.msgpack"
        _append(path, *ROUNDS)
        path.write_bytes(path.read_bytes()[:-7])

    def holds(folder: Path, done: bool) -> None:
        path = folder / "history.msgpack"
        torn = read_history(path).torn
        assert _rounds_in(path) == ROUNDS[:2]
        assert not (done and torn)
        # The torn bytes are in the history, or beside it.
        assert torn or list(folder.glob("history.msgpack.torn-*"))

    return Save(prepared, lambda folder: _append(folder / "history.msgpack"), holds)


def _continued_history() -> Save:
    """The third round begins a new segment, and the oldest segment, which holds the first, goes or stays whole."""
    limits = HistoryLimits(segment_bytes=100)

    def append(folder: Path, *entries: Entry) -> None:
        path = folder / "history.msgpack"
        with HistoryWriter(path, peer="a", now=1.0, limits=limits) as writer:
            for entry in entries:
                writer.append(entry)

    begun = entry_of(begun_of("a"))

    def holds(folder: Path, done: bool) -> None:
        path = folder / "history.msgpack"
        before = [begun, *ROUNDS[:2]]
        assert _rounds_in(path) in ([[*before, ROUNDS[2]]] if done else [before, [*before, ROUNDS[2]]])
        found = _rounds_in(path)
        append(folder, ROUNDS[0])
        assert _rounds_in(path) == [*found, ROUNDS[0]]
        assert read_history(path).torn == 0
        assert decoded(path.read_bytes()).entries[0] == begun, "a segment can be read by itself"

    return Save(
        lambda folder: append(folder, begun, *ROUNDS[:2]), lambda folder: append(folder, ROUNDS[2]), holds
    )


def _blocked(*names: str) -> list[BlockedPeer]:
    return [BlockedPeer(peer=name) for name in names]


def _block_list() -> Save:
    def holds(folder: Path, done: bool) -> None:
        assert set(read_blocked(folder)) in ([{"a", "b"}] if done else [{"a"}, {"a", "b"}])

    return Save(
        lambda folder: write_blocked(folder, _blocked("a")),
        lambda folder: write_blocked(folder, _blocked("a", "b")),
        holds,
    )


def _address_book() -> Save:
    peer = Identity(bytes(32)).peer_id
    old, new = (f"/ip4/192.0.2.{number}/tcp/1" for number in (1, 2))

    def holds(folder: Path, done: bool) -> None:
        found = read_book(folder / "addresses.json")
        assert found in ([[Address(peer, new)]] if done else [[Address(peer, old)], [Address(peer, new)]])

    return Save(
        lambda folder: write_book(folder / "addresses.json", {peer: [old]}),
        lambda folder: write_book(folder / "addresses.json", {peer: [new]}),
        holds,
    )


def _table() -> Save:
    def holds(folder: Path, done: bool) -> None:
        assert (folder / "table.csv").read_bytes() in ([b"new" * 99] if done else [b"old", b"new" * 99])

    return Save(
        lambda folder: (folder / "table.csv").write_bytes(b"old"),
        lambda folder: write_output(folder / "table.csv", lambda file: file.write(b"new" * 99)),
        holds,
    )


def _snapshot(value: float) -> bytes:
    header = SnapshotHeader(
        base=b"b" * 32,
        tokenizer=b"",
        layout=b"",
        model_name="a/model",
        rank=1,
        alpha=1.0,
        dropout=0.0,
        train="both",
        fan_in_fan_out=False,
        round=0,
        steps=1,
    )
    adapter = {f"m.lora_{side}": np.full((1, 1), value, np.float32) for side in "AB"}
    return encode_snapshot(Snapshot(header, adapter, {}, {}, {}))


def _export() -> Save:
    """PEFT reads a folder only with its configuration, so what lies beside one is whole."""

    def holds(folder: Path, done: bool) -> None:
        out = folder / "out"
        contents = {path.name: path.read_bytes() for path in out.iterdir()} if out.is_dir() else {}
        if "adapter_config.json" not in contents:
            assert not done
            return
        json.loads(contents["adapter_config.json"])
        values = {float(value[0, 0]) for value in load(contents["adapter_model.safetensors"]).values()}
        assert values in ([{2.0}] if done else [{1.0}, {2.0}])

    return Save(
        lambda folder: export_adapter(_snapshot(1.0), folder / "out"),
        lambda folder: export_adapter(_snapshot(2.0), folder / "out", overwrite=True),
        holds,
    )


SAVES = {
    "first state": _state(1),
    "announced state": _state(3),
    "beginning state": _state(4),
    "announced state with contents apart": _state(3, size=1000),
    "beginning state with contents apart": _state(4, size=1000),
    "mended list of rounds": _mended_list(),
    "merge inputs": _merge_inputs(),
    "merge inputs with contents apart": _merge_inputs(size=1000),
    "new home": _made_home(),
    "history": _history(),
    "repaired history": _repaired_history(),
    "continued history": _continued_history(),
    "block list": _block_list(),
    "address book": _address_book(),
    "table of the user": _table(),
    "export": _export(),
}


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(".part")]


@pytest.mark.parametrize("fault", KILLS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("name", SAVES)
def test_killed_at_any_operation_the_old_or_the_new_is_there(tmp_path: Path, name: str, fault: Fault) -> None:
    save = SAVES[name]
    for at in range(1, MOST_OPERATIONS):
        folder = tmp_path / str(at)
        folder.mkdir()
        save.prepared(folder)

        killed = killed_at(at, fault, lambda: save.saved(folder))  # noqa: B023

        save.holds(folder, not killed)
        # What the killed process left is gone after the next save, wherever it was killed.
        if not (name == "new home" or "list" in name or "history" in name):
            save.saved(folder)
            assert not leftovers(folder)
        if not killed:
            return
    raise AssertionError("the save does not end")


@pytest.mark.parametrize("fault", ERRORS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("name", SAVES)
def test_an_error_at_any_operation_leaves_the_old_or_the_new_and_is_told(
    tmp_path: Path, name: str, fault: Fault
) -> None:
    save = SAVES[name]
    for at in range(1, MOST_OPERATIONS):
        folder = tmp_path / str(at)
        folder.mkdir()
        save.prepared(folder)
        failed = None
        with FaultyDisk(at, fault) as disk:
            try:
                save.saved(folder)
            except (OSError, UserMistake) as error:
                failed = error
        save.holds(folder, failed is None and not disk.reached)
        if failed is not None:
            text = str(failed)
            assert "\n" not in text
            assert not isinstance(failed, OSError) or failed.errno == fault.code
        if not disk.reached:
            return
    raise AssertionError("the save does not end")


@pytest.mark.parametrize("fault", ERRORS, ids=lambda fault: fault.name)
def test_every_operation_of_a_write_can_meet_the_fault(tmp_path: Path, fault: Fault) -> None:
    """Or the tests above would pass because nothing ever failed."""
    with FaultyDisk(MOST_OPERATIONS, fault) as disk:
        write_blocked(tmp_path, _blocked("a"))
    assert disk.done == ["open", "write", "fsync", "replace", "open", "fsync"]
    for at in range(1, len(disk.done) + 1):
        with pytest.raises(UserMistake, match=os.strerror(fault.code)), FaultyDisk(at, fault):
            write_blocked(tmp_path, _blocked("b"))
