"""`gossipllm trust block` and `unblock`: whom they mean, what they write, and what `show` says of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from peers.identity import Identity
from support.records import make_home, round_of
from trust.cli import trust
from trust.record.blocked import BLOCKED_FILE, read_blocked

ME, MALLORY, BERT, OTHER_BERT = (Identity(bytes([number]) * 32) for number in range(1, 5))
STRANGER = Identity(bytes([9]) * 32).peer_id


def call(*arguments: object) -> Result:
    return CliRunner().invoke(trust, [str(argument) for argument in arguments])


def refused(result: Result) -> str:
    """The single line of a command that ended with a user's mistake."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose history knows mallory and two peers that call themselves bert."""
    folder = tmp_path / "home"
    make_home(
        folder,
        ME.peer_id,
        round_of(
            ME.peer_id,
            1,
            {MALLORY.peer_id: 0.25, BERT.peer_id: 0.25, OTHER_BERT.peer_id: 0.0},
            names={MALLORY.peer_id: "mallory", BERT.peer_id: "bert", OTHER_BERT.peer_id: "bert"},
        ),
        name="anna",
    )
    (folder / "peer.toml").write_text("")
    ME.save(folder / "identity.key")
    return folder


@pytest.mark.parametrize("who", [MALLORY.peer_id, MALLORY.peer_id[-8:], "mallory", "Mallory"])
def test_a_peer_is_blocked_by_its_id_a_part_of_it_or_its_name(home: Path, who: str) -> None:
    result = call("block", who, "--home", home, "--why", "spoils every merge")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"mallory ({MALLORY.peer_id}) is blocked")
    (found,) = read_blocked(home).values()
    assert (found.peer, found.name, found.why) == (MALLORY.peer_id, "mallory", "spoils every merge")


def test_a_name_of_two_peers_blocks_none_and_their_ids_are_given(home: Path) -> None:
    line = refused(call("block", "bert", "--home", home))
    assert BERT.peer_id in line
    assert OTHER_BERT.peer_id in line
    assert not (home / BLOCKED_FILE).exists()


def test_a_peer_that_was_never_met_is_blocked_by_its_whole_id(home: Path) -> None:
    assert call("block", STRANGER, "--home", home).exit_code == 0
    assert set(read_blocked(home)) == {STRANGER}
    assert "no peer is called" in refused(call("block", STRANGER[-9:-1], "--home", home))


def test_to_block_twice_changes_nothing(home: Path) -> None:
    call("block", "mallory", "--home", home, "--why", "first")
    assert "was blocked already" in call("block", "mallory", "--home", home, "--why", "second").stdout
    assert read_blocked(home)[MALLORY.peer_id].why == "first"


def test_a_peer_does_not_block_itself(home: Path) -> None:
    assert "cannot block itself" in refused(call("block", "anna", "--home", home))


def test_unblock_takes_the_peer_from_the_list(home: Path) -> None:
    assert "no peer is blocked" in refused(call("unblock", "mallory", "--home", home))
    call("block", "mallory", "--home", home)
    assert "no peer is called" in refused(call("unblock", "bert", "--home", home))
    assert "no longer blocked" in call("unblock", "mallory", "--home", home).stdout
    assert read_blocked(home) == {}


def test_a_damaged_list_is_named_and_left_as_it_is(home: Path) -> None:
    (home / BLOCKED_FILE).write_text("{")
    assert "is no block list" in refused(call("block", "mallory", "--home", home))
    assert (home / BLOCKED_FILE).read_text() == "{"


def test_a_folder_that_is_no_home_is_named(tmp_path: Path) -> None:
    assert "no such folder" in refused(call("block", "mallory", "--home", tmp_path / "nowhere"))


def test_show_and_explain_say_who_is_blocked_and_why(home: Path) -> None:
    call("block", "mallory", "--home", home, "--why", "spoils")
    shown = call("show", home)
    assert "mallory is blocked by" in shown.stdout
    assert ": spoils" in " ".join(shown.stdout.split()), "the line is wrapped at the width of the screen"
    (listed,) = json.loads(call("show", home, "--json").stdout)["blocked"]
    assert listed == {"by": str(home), "peer": MALLORY.peer_id, "name": "mallory", "why": "spoils"}

    assert "mallory is blocked (spoils)" in call("explain", home, "anna", "mallory", "--no-measure").stdout
    told = call("explain", home, "anna", BERT.peer_id, "--no-measure", "--json")
    assert json.loads(told.stdout)["blocked"] is None
