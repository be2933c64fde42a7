"""The lot: places are drawn over addresses, so identities are worth nothing."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from peers.core.others.standing.lots import Candidate, drawn, most_of_one_group

GROUPED = st.lists(
    st.builds(
        Candidate,
        author=st.text("abcdefgh", min_size=1, max_size=4),
        rank=st.none() | st.tuples(st.floats(0, 1), st.floats(0, 1)),
        connected=st.booleans(),
        group=st.sampled_from(["", "x", "y", "z"]),
        content=st.binary(max_size=1),
        arrived=st.integers(0, 50),
    ),
    max_size=40,
    unique_by=lambda one: one.author,
)


def crowd(count: int, group: str, *, connected: bool = True, first: int = 1000) -> list[Candidate]:
    return [
        Candidate(author=f"{group}-{number}", group=group, connected=connected, arrived=first + number)
        for number in range(count)
    ]


def honest(count: int) -> list[Candidate]:
    return [
        Candidate(author=f"honest-{number}", group=f"h{number}", arrived=number) for number in range(count)
    ]


def groups_of(chosen: frozenset[str]) -> Counter[str]:
    return Counter(author.rpartition("-")[0] for author in chosen)


@given(GROUPED, st.integers(1, 8), st.integers(0, 8), st.integers(0, 100))
def test_at_most_as_many_as_there_are_places(
    candidates: list[Candidate], most: int, explore: int, round_: int
) -> None:
    chosen = drawn(candidates, me="me", round_=round_, most=most, explore=min(explore, most))
    assert len(chosen) <= most
    assert chosen <= {one.author for one in candidates}
    if len(candidates) <= most:
        assert len(chosen) == len(candidates)


def test_a_thousand_identities_of_one_address_are_one_ticket() -> None:
    for round_ in range(20):
        counts = groups_of(
            drawn([*honest(15), *crowd(1000, "crowd")], me="me", round_=round_, most=16, explore=4)
        )
        assert counts == {"honest": 15, "crowd": 1}


def test_one_group_never_has_more_than_its_share_though_places_stay_free() -> None:
    counts = groups_of(drawn([*honest(3), *crowd(1000, "crowd")], me="me", round_=0, most=16, explore=4))
    assert counts == {"honest": 3, "crowd": most_of_one_group(16)}


def test_where_all_are_behind_one_address_all_places_are_filled() -> None:
    assert len(drawn(crowd(40, "home"), me="me", round_=0, most=16, explore=4)) == 16


def test_authors_that_are_not_connected_get_a_part_of_the_places() -> None:
    far = [one for number in range(20) for one in crowd(5, f"via{number}", connected=False)]
    counts = groups_of(drawn([*honest(30), *far], me="me", round_=0, most=16, explore=4))
    assert counts["honest"] == 14
    assert sum(counts.values()) == 16


def test_places_that_connected_authors_leave_free_go_to_the_others() -> None:
    far = [one for number in range(20) for one in crowd(5, f"via{number}", connected=False)]
    counts = groups_of(drawn([*honest(3), *far], me="me", round_=0, most=16, explore=4))
    assert counts["honest"] == 3
    assert sum(counts.values()) == 16


def test_each_of_a_group_is_drawn_some_time() -> None:
    candidates = [*honest(8), *crowd(4, "home")]
    rounds = [drawn(candidates, me="me", round_=round_, most=4, explore=4) for round_ in range(200)]
    assert set().union(*rounds) == {one.author for one in candidates}


def test_the_lot_is_the_same_for_the_same_peer_and_round_and_differs_between_peers_and_rounds() -> None:
    candidates = honest(40)

    def lot(me: str, round_: int) -> frozenset[str]:
        return drawn(candidates, me=me, round_=round_, most=8, explore=4)

    assert lot("me", 3) == lot("me", 3)
    assert lot("me", 3) != lot("you", 3)
    assert lot("me", 3) != lot("me", 4)


def test_the_highest_ranks_keep_their_places_and_no_more_than_are_not_for_the_lot() -> None:
    proven = [
        Candidate(author=f"proven-{number}", rank=(number / 10, 0.0), group=f"p{number}")
        for number in range(10)
    ]
    chosen = drawn([*proven, *honest(50)], me="me", round_=0, most=8, explore=3)
    assert {f"proven-{number}" for number in range(5, 10)} <= chosen
    assert len(chosen) == 8


def test_of_equal_ranks_the_larger_weight_comes_first() -> None:
    pair = [Candidate(author=name, rank=(1.0, weight)) for name, weight in (("light", 0.1), ("heavy", 0.2))]
    assert "heavy" in drawn([*pair, *honest(20)], me="me", round_=0, most=2, explore=1)


def test_copies_hold_one_place_with_the_first_of_them() -> None:
    original = Candidate(author="original", group="o", content=b"update", arrived=1)
    copies = [
        Candidate(author=f"copy{number}", group=f"c{number}", content=b"update", arrived=2 + number)
        for number in range(30)
    ]
    for round_ in range(20):
        chosen = drawn([*copies, original, *honest(15)], me="me", round_=round_, most=16, explore=4)
        assert "original" in chosen
        assert not any(author.startswith("copy") for author in chosen)


def test_a_copy_of_a_proven_neighbour_gets_no_place_by_lot_even_where_it_came_first() -> None:
    proven = Candidate(author="proven", rank=(1.0, 0.5), content=b"update", arrived=9)
    copy = Candidate(author="copy", group="c", content=b"update", arrived=1)
    for round_ in range(20):
        chosen = drawn([proven, copy, *honest(20)], me="me", round_=round_, most=8, explore=4)
        assert "proven" in chosen
        assert "copy" not in chosen
