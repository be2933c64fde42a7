"""Whom to fetch from."""

from __future__ import annotations

from typing import Final

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from peers.core.config import NO_DEFENCE, DefenceConfig
from peers.core.events import Connected, Heard
from peers.core.others.partners import heaviest
from support.core_bench import Bench, RemotePeer
from support.running_core import neighbourhood
from trust.rows.rows import TrustConfig
from wire.holders import MAX_HOLDS, encode_holds

WEIGHTS = st.dictionaries(st.text("abcdef", min_size=1, max_size=4), st.floats(0, 1), max_size=40)
SYBILS: Final = [RemotePeer(f"sybil{number}") for number in range(60)]
HONEST: Final = [RemotePeer(f"honest{number}") for number in range(4)]
CROWD: Final = "v4:203.0.113.7"


def crowded(bench: Bench) -> Bench:
    """Sixty authors that came through one connection, which holds blobs of 32 of them, and four that are connected from
    addresses of their own."""
    bench.start()
    for number, one in enumerate(HONEST):
        bench.tell(Connected(peer=one.id, group=f"v4:198.51.100.{number}"))
        bench.tell(Heard(frame=one.announce(), via=one.id))
    bench.tell(Connected(peer=SYBILS[0].id, group=CROWD))
    held = encode_holds(one.keys.public_key for one in SYBILS[1 : 1 + MAX_HOLDS])
    for one in SYBILS:
        holds = held if one is SYBILS[0] else UNSET
        bench.tell(Heard(frame=one.announce(holds=holds), via=SYBILS[0].id))
    return bench


def names(bench: Bench) -> set[str]:
    by_id = {one.id: one.name for one in (*SYBILS, *HONEST)}
    return {by_id[author] for author in neighbourhood(bench.core).partners()}


def distinct() -> None:
    """Give everybody an update of its own: equal ones share one place."""
    for number, one in enumerate((*SYBILS, *HONEST)):
        one.update = one.update.of(bytes(4) + number.to_bytes(4, "little") + bytes(12))


distinct()


# -- where neighbours prove themselves --------------------------------------------------------------


def test_a_crowd_behind_one_connection_leaves_every_connected_neighbour_its_place() -> None:
    bench = crowded(Bench(rounds={"most_partners": 8, "explore": 4}, defence=DefenceConfig()))
    chosen = names(bench)
    assert {one.name for one in HONEST} <= chosen
    assert len(chosen) <= 8


def test_everybody_within_reach_has_a_place_in_a_small_network() -> None:
    bench = crowded(Bench(rounds={"most_partners": 64}, defence=DefenceConfig()))
    assert len(names(bench)) == len(HONEST) + 1 + MAX_HOLDS


def test_a_seat_holds_its_place_against_any_lot() -> None:
    bench = crowded(Bench(rounds={"most_partners": 4, "explore": 2}, defence=DefenceConfig()))
    others = neighbourhood(bench.core)
    for _ in range(2):
        others.seats.gained(SYBILS[7].id)
    for round_ in range(4):
        others.turn({}, round_)
        assert SYBILS[7].name in names(bench)


def test_a_weight_without_a_seat_holds_no_place() -> None:
    bench = crowded(Bench(rounds={"most_partners": 4, "explore": 2}, defence=DefenceConfig()))
    others = neighbourhood(bench.core)
    kept = 0
    for round_ in range(4):
        others.turn({SYBILS[7].id: 0.9}, round_)
        kept += SYBILS[7].name in names(bench)
    assert kept < 2


def test_a_flood_from_one_group_redraws_nothing_within_a_round() -> None:
    bench = crowded(Bench(rounds={"most_partners": 8, "explore": 4}, defence=DefenceConfig()))
    before = names(bench)
    for number in range(100):
        more = RemotePeer(f"more{number}")
        bench.tell(Heard(frame=more.announce(), via=SYBILS[0].id))
    assert names(bench) == before


def test_a_newcomer_from_an_address_of_its_own_is_drawn_among_groups_at_once() -> None:
    bench = crowded(Bench(rounds={"most_partners": 8, "explore": 4}, defence=DefenceConfig()))
    names(bench)
    newcomer = RemotePeer("newcomer")
    bench.tell(Connected(peer=newcomer.id, group="v4:198.51.100.77"))
    bench.tell(Heard(frame=newcomer.announce(), via=newcomer.id))
    assert newcomer.id in neighbourhood(bench.core).partners()


# -- where they do not --------------------------------------------------------------------------------


@given(WEIGHTS, st.integers(1, 8), st.integers(0, 8), st.integers(0, 100))
def test_they_are_few_and_known(weights: dict[str, float], most: int, explore: int, round_: int) -> None:
    chosen = heaviest(weights, me="me", round_=round_, most=most, explore=min(explore, most))
    assert len(chosen) == min(most, len(weights))
    assert chosen <= weights.keys()


def test_the_most_useful_always_and_the_others_in_turn() -> None:
    weights = {"best": 0.5, "good": 0.3, **{f"peer{n}": 0.0 for n in range(10)}}
    rounds = [heaviest(weights, me="me", round_=round_, most=4, explore=2) for round_ in range(50)]

    assert all({"best", "good"} <= chosen for chosen in rounds)
    assert set().union(*rounds) == weights.keys()


def test_two_peers_draw_different_lots() -> None:
    weights = {f"peer{n}": 0.0 for n in range(40)}
    mine, yours = (heaviest(weights, me=me, round_=0, most=8, explore=4) for me in ("me", "you"))
    assert mine != yours


def test_without_confirmed_gains_places_go_by_weight_and_the_lot_is_over_identities() -> None:
    bench = crowded(Bench(rounds={"most_partners": 4, "explore": 2}, defence=NO_DEFENCE))
    others = neighbourhood(bench.core)
    others.turn({SYBILS[7].id: 0.9}, 0)
    entries = {one.author: others.weights.get(one.author, 0.0) for one in others.lately()}
    assert others.partners() == heaviest(entries, me=bench.keys.peer_id, round_=1, most=4, explore=2)


def test_a_strategy_that_takes_everybody_keeps_the_places_of_last_rounds_weights() -> None:
    bench = crowded(Bench(rounds={"most_partners": 4, "explore": 2}, trust=TrustConfig(strategy="uniform")))
    others = neighbourhood(bench.core)
    for round_ in range(4):
        others.turn({SYBILS[7].id: 0.2}, round_)
        assert SYBILS[7].name in names(bench)
