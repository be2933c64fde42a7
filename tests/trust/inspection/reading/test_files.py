"""Finding the history files below a path, and reading their latest rows."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict, Unpack

import pytest

from support.records import make_home, round_of
from trust.errors import UserMistake
from trust.inspection.reading.files import find_peer, history_files
from trust.inspection.show.latest import read_latest
from trust.record.matrix import PeerRounds


@pytest.fixture
def homes(tmp_path: Path) -> Path:
    for peer, other in ("ab", "ba"):
        rounds = (round_of(peer, number, {other: number / 100}) for number in range(1, 31))
        make_home(tmp_path / "run" / "peers" / peer, peer, *rounds)
    return tmp_path / "run"


class ReadOptions(TypedDict, total=False):
    at_round: int | None
    small: int


def round_at(member: PeerRounds, number: int | None = None) -> int:
    record = member.at(number)
    assert record is not None
    return record.round


def complaint(*paths: Path, **options: Unpack[ReadOptions]) -> str:
    with pytest.raises(UserMistake) as mistake:
        read_latest(paths, **options)
    assert "\n" not in mistake.value.message
    return mistake.value.message


@pytest.mark.parametrize("number", [None, 7])
def test_a_large_file_is_read_from_its_end_to_the_same_rows(homes: Path, number: int | None) -> None:
    whole = read_latest([homes], at_round=number)
    tail = read_latest([homes], at_round=number, small=0)
    assert tail.members == whole.members
    assert [round_at(member, number) for member in tail.members] == [number or 30] * 2
    assert [file.records for file in whole.files] == [31, 31]
    assert [file.records for file in tail.files] == [None, None]


def test_counting_bytes_decodes_all_records(homes: Path) -> None:
    found = read_latest([homes], count_bytes=True, small=0)
    assert [file.records for file in found.files] == [31, 31]
    assert found.traffic is not None
    assert set(found.traffic) == {"a", "b"}


def test_a_torn_end_is_described_alike_by_both_ways_of_reading(homes: Path) -> None:
    path = homes / "peers" / "a" / "history.msgpack"
    path.write_bytes(path.read_bytes()[:-5])
    whole, tail = read_latest([homes]), read_latest([homes], small=0)
    assert tail.members == whole.members
    assert [(file.torn_bytes, file.why) for file in tail.files] == [
        (file.torn_bytes, file.why) for file in whole.files
    ]
    assert tail.files[0].torn_bytes > 0
    assert round_at(tail.members[0]) == 29


def test_several_homes_are_one_matrix(homes: Path) -> None:
    apart = read_latest([homes / "peers" / "b", homes / "peers" / "a" / "history.msgpack"])
    assert {member.peer: round_at(member) for member in apart.members} == {"a": 30, "b": 30}


def test_a_file_that_two_paths_mean_is_read_once(homes: Path) -> None:
    assert len(read_latest([homes, homes / "peers" / "a"]).files) == 2


def test_two_paths_with_histories_of_one_peer_are_a_user_mistake(tmp_path: Path, homes: Path) -> None:
    other = make_home(tmp_path / "other", "a", round_of("a", 1, {}), name="anna")
    assert "both have a history of" in complaint(homes, other)


def test_several_runs_of_a_simulation_are_a_user_mistake(tmp_path: Path) -> None:
    for method in ("fedavg", "s3"):
        for seed in range(2):
            make_home(tmp_path / "results" / method / f"seed-{seed}", "a", round_of("a", 1, {}))
    message = complaint(tmp_path / "results")
    assert "holds 4 runs of a simulation; give one of" in message
    assert str(Path("fedavg", "seed-0")) in message
    assert "holds 2 runs" in complaint(tmp_path / "results" / "s3")
    runs = [tmp_path / "results" / "s3" / f"seed-{seed}" for seed in range(2)]
    assert len(history_files(runs[1])) == 1
    assert "these are 2 histories; give one" in complaint(*runs)


def test_the_recorded_rounds_of_large_files_are_listed_too(homes: Path) -> None:
    for small in (0, 1 << 20):
        assert "recorded round 31; there are 1 to 30" in complaint(homes, at_round=31, small=small)
    assert "recorded round -1; there are" in complaint(homes, at_round=-1, small=0)


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n", bytes(100), b"\x83\xa4at_s"])
def test_a_foreign_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "history.msgpack").write_bytes(content)
    for small in (0, 1 << 20):
        assert "history.msgpack is no history: byte 0: " in complaint(tmp_path, small=small)


def test_an_empty_history_is_that_of_a_peer_before_its_first_round(tmp_path: Path) -> None:
    (tmp_path / "history.msgpack").write_bytes(b"")
    assert "has finished a round yet" in complaint(tmp_path, small=0)


def test_a_history_without_read_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "history.msgpack").write_bytes(b"")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert "cannot be read: Permission denied" in complaint(tmp_path)


PEERS = (("id-abc-1", "anna"), ("id-abd-2", "bert"), ("id-abe-3", "anna"), ("carl", "dora"))


@pytest.mark.parametrize(
    ("text", "peer"), [("bert", "id-abd-2"), ("BERT", "id-abd-2"), ("c-1", "id-abc-1"), ("carl", "carl")]
)
def test_a_peer_is_found_by_name_id_or_an_end_of_the_id(text: str, peer: str) -> None:
    assert find_peer(text, PEERS) == peer


def test_an_ambiguous_or_unknown_name_is_a_user_mistake() -> None:
    with pytest.raises(UserMistake, match="more than one peer; give an id: id-abc-1, id-abe-3"):
        find_peer("anna", PEERS)
    with pytest.raises(UserMistake, match="no peer is called"):
        find_peer("zoe", PEERS)
