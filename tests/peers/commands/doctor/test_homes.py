"""A home is looked at without being touched, and what is wrong with it is named."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from peers.commands.doctor import homes
from peers.commands.doctor.findings import Finding
from peers.core.saved import beginning
from peers.home.folder import Home
from peers.home.store import StateStore
from peers.identity import Identity
from sim.toy.learner import fingerprints
from trust.record.history import Entry, Note, Traffic
from trust.record.writer import HistoryWriter


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def all_of(home: Home) -> dict[str, Finding]:
    found = [*homes.folder(home), *homes.state(homes.saved_of(home)), *homes.history(home), *homes.lock(home)]
    return {one.what: one for one in found}


def test_a_good_home_is_fine_and_stays_as_it_is(home: Home) -> None:
    before = contents(home.folder)

    found = all_of(home)

    assert {one.level for one in found.values()} == {"ok"}
    assert found["state"].value == "whole: round 0, generation 0"
    assert contents(home.folder) == before


def test_a_damaged_generation_is_passed_over_and_no_copy_is_made(home: Home) -> None:
    StateStore(home.state).save(msgspec.structs.replace(beginning(fingerprints()), generation=1))
    file = home.state / "state.1"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    before = contents(home.folder)

    warned, used = homes.state(homes.saved_of(home))

    assert (warned.level, used.level) == ("warn", "ok")
    assert warned.value == "state.1: checksum mismatch; using generation 0"
    assert contents(home.folder) == before


def test_a_state_that_cannot_be_read_at_all_fails_with_what_to_do(home: Home) -> None:
    (home.state / "state.0").write_bytes(b"nonsense")
    before = contents(home.folder)

    (found,) = homes.state(homes.saved_of(home))

    assert found.level == "fail"
    assert str(home.state) in found.value
    assert "copy is kept" not in found.value
    assert "gossipllm init" in found.cure
    assert contents(home.folder) == before


def test_a_home_that_never_ran_is_fine(home: Home) -> None:
    for file in home.state.iterdir():
        file.unlink()
    home.state.rmdir()

    assert all_of(home)["state"].value == "none yet: the peer has not run"
    assert not home.state.exists()


def test_a_history_that_is_cut_is_told_but_not_mended(home: Home) -> None:
    with HistoryWriter(home.history, peer="me", now=0.0) as history:
        history.append(
            Entry(
                at_s=0.0,
                traffic=Traffic(sent={}, received={}),
                record=Note(peer="me", level="info", text="hello"),
            )
        )
    home.history.write_bytes(home.history.read_bytes()[:-3])
    before = contents(home.folder)

    found = all_of(home)["history"]

    assert found.level == "warn"
    assert "cannot be read" in found.value
    assert contents(home.folder) == before


def test_a_peer_that_runs_is_named_by_its_process(home: Home) -> None:
    with home.locked():
        assert all_of(home)["lock"].value.startswith("held by the process with pid ")
    assert all_of(home)["lock"].value.startswith("free")


def test_a_key_that_others_can_read_fails(home: Home) -> None:
    assert isinstance(homes.identity_of(home), Identity)
    home.identity.chmod(0o644)

    found = homes.identity_of(home)

    assert isinstance(found, Finding)
    assert found.level == "fail"
    assert "chmod 600" in found.value


@pytest.mark.parametrize("damage", ["no folder", "no key", "a wrong value"])
def test_a_home_that_is_none_fails_in_one_line(damage: str, home: Home) -> None:
    if damage == "no folder":
        home = Home(home.folder / "nowhere")
    elif damage == "no key":
        home.identity.unlink()
    else:
        text = home.config.read_text()
        home.config.write_text(text.replace("threads = 1", "threads = -1"))

    found = homes.config_of(home)

    assert isinstance(found, Finding)
    assert (found.level, "\n" in found.value) == ("fail", False)
