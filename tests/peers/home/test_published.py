"""The list of announced rounds is checked like the state, and no damage of both lets a round be announced twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from peers.home.published import KEPT_ROUNDS, append_published, read_published, write_published
from peers.home.store import StateStore
from support.states import filled_store, state_of

LAST = 8
"""The newest generation: it begins round 4, and rounds 0 to 3 were announced."""


def filled(folder: Path) -> bytes:
    """A store of eight generations. Returns its list."""
    filled_store(folder, *range(1, LAST + 1))
    return (folder / "published").read_bytes()


def test_every_flipped_bit_of_the_list_is_named_and_mended(folder: Path) -> None:
    whole = filled(folder)
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        (folder / "published").write_bytes(damaged)

        found = StateStore(folder).load()

        assert found.saved == state_of(LAST), f"byte {place}"
        assert found.notes[0].startswith("published: 1 of 4 records damaged; a copy is kept as ")
        assert StateStore(folder).load().notes == ()
        assert read_published(folder / "published").last == 3


@pytest.mark.parametrize("left", [0, 40, 80, 100])
def test_a_list_that_was_cut_is_named_and_mended(folder: Path, left: int) -> None:
    whole = filled(folder)
    (folder / "published").write_bytes(whole[:left])

    found = StateStore(folder).load()

    assert found.saved == state_of(LAST)
    assert "and round 3 was announced" in found.notes[0]
    assert StateStore(folder).load().notes == ()


def test_a_list_that_is_gone_is_named_and_mended(folder: Path) -> None:
    filled(folder)
    (folder / "published").unlink()

    assert "published: it ends with round -1" in StateStore(folder).load().notes[0]
    assert read_published(folder / "published").last == 3


@pytest.mark.parametrize("newest", [LAST, LAST + 1])
@pytest.mark.parametrize("left", [0, 80, None])
def test_whatever_of_state_and_list_is_damaged_no_announced_round_is_begun_again(
    folder: Path, newest: int, left: int | None
) -> None:
    filled(folder)
    if newest > LAST:
        filled_store(folder, newest)
    announced = newest // 2 - (newest % 2 == 0)
    published = folder / "published"
    data = bytearray(published.read_bytes())
    if left is None:
        data[-5] ^= 1
        published.write_bytes(data)
    else:
        published.write_bytes(data[:left])
    (folder / f"state.{newest % 2}").write_bytes(b"damaged")

    saved = StateStore(folder).load().saved

    assert saved is not None
    assert saved.stage == "training"
    assert saved.round > announced


def test_a_damaged_record_before_the_last_moves_no_round(folder: Path) -> None:
    data = bytearray(filled(folder))
    data[5] ^= 1
    (folder / "published").write_bytes(data)
    (folder / "state.1").write_bytes(b"damaged")

    assert StateStore(folder).load().saved == state_of(LAST)


def test_only_the_newest_rounds_of_a_long_list_are_kept(folder: Path) -> None:
    filled(folder)
    long = [(round_, bytes(32)) for round_ in range(-3 * KEPT_ROUNDS + 4, 4) if round_ >= 0]
    long = [(0, bytes(32))] * (3 * KEPT_ROUNDS) + long
    write_published(folder / "published", long)

    found = StateStore(folder).load()

    assert (found.saved, found.notes) == (state_of(LAST), ())
    kept = read_published(folder / "published")
    assert (len(kept.rounds), kept.last) == (KEPT_ROUNDS, 3)


def test_going_on_after_a_round_counts_it_as_announced(folder: Path) -> None:
    filled(folder)

    StateStore(folder).go_on_after(9)

    saved = StateStore(folder).load().saved
    assert saved is not None
    assert (saved.round, saved.stage) == (10, "training")


def test_nobody_else_may_read_the_list(folder: Path) -> None:
    filled(folder)

    assert (folder / "published").stat().st_mode & 0o777 == 0o600


def test_a_list_stays_short_while_a_peer_runs(tmp_path: Path) -> None:
    path = tmp_path / "published"
    write_published(path, [(round_, bytes(32)) for round_ in range(2 * KEPT_ROUNDS - 1)])
    for round_ in range(2 * KEPT_ROUNDS - 1, 2 * KEPT_ROUNDS + 3):
        append_published(path, round_, bytes(32))
        assert read_published(path).last == round_
    kept = read_published(path)
    assert [round_ for round_, _ in kept.rounds] == list(range(KEPT_ROUNDS, 2 * KEPT_ROUNDS + 3))


def test_a_long_list_that_is_damaged_is_left_to_be_named(tmp_path: Path) -> None:
    path = tmp_path / "published"
    write_published(path, [(round_, bytes(32)) for round_ in range(2 * KEPT_ROUNDS)])
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.write_bytes(data)

    append_published(path, 2 * KEPT_ROUNDS, bytes(32))

    assert read_published(path).damaged == 1
    assert read_published(path).last == 2 * KEPT_ROUNDS


def test_a_state_that_would_announce_a_listed_round_otherwise_announces_a_later_one(folder: Path) -> None:
    """As when the list and the state are from different copies of a home."""
    filled_store(folder, *range(1, LAST + 2))
    rounds = list(read_published(folder / "published").rounds)
    assert rounds[-1][0] == 4
    write_published(folder / "published", [*rounds[:-1], (4, b"x" * 32)])

    found = StateStore(folder).load()

    assert found.saved is not None
    assert (found.saved.stage, found.saved.round) == ("training", 6)
    assert "round 4 was announced otherwise" in found.notes[0]
    again = StateStore(folder).load()
    assert again.notes == ()
    assert again.saved is not None
    assert (again.saved.stage, again.saved.round) == ("training", 6)


def test_a_round_of_which_only_the_number_is_known_is_announced_as_the_state_has_it(folder: Path) -> None:
    filled_store(folder, *range(1, LAST + 2))
    rounds = list(read_published(folder / "published").rounds)
    write_published(folder / "published", [*rounds[:-1], (4, bytes(32))])

    found = StateStore(folder).load()

    assert (found.saved, found.notes) == (state_of(LAST + 1), ())
