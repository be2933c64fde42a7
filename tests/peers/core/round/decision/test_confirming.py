"""Each neighbour is tried by itself: who harms is left out, whoever else is in the row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from gossipllm.work import (
    BIND_TOLERANCE,
    Confirm,
    Confirmation,
    Confirmed,
    Evaluate,
    Evaluated,
    Failed,
    Merge,
    Restore,
    Trained,
)
from peers.core.asking import LEAST_PAUSE
from peers.core.config import DefenceConfig
from peers.core.effects import Effect, Log, Store, WakeAt
from peers.core.events import Blocked, Reopening, Woke
from peers.core.round.learner_supervision import MERGE_TRIES
from support.core_bench import Bench, RemotePeer, update_of
from support.effects import every, only, requests, round_record
from support.running_core import neighbourhood
from trust.record.history import Guard, LeftOut, Note, Refusal, Round, Seen
from wire.digest import Content

GOOD = Confirmation(gain=0.5, error=0.1, mismatch=0.0, twin=0, size=1.0)
BAD = Confirmation(gain=-0.5, error=0.1, mismatch=0.0, twin=0, size=1.0)
DEFENCE = DefenceConfig(newcomers=1.0, own_share=0.0, fruitless=2)
NAMES = ("ann", "ben", "cleo")


@pytest.fixture
def bench() -> Bench:
    return Bench(defence=DEFENCE)


@pytest.fixture
def others() -> list[RemotePeer]:
    return [
        RemotePeer(name, update=update_of([1.0, 0.1 * n, 0.0, 0.0])) for n, name in enumerate(NAMES, start=1)
    ]


def hear(bench: Bench, other: RemotePeer, round_: int) -> None:
    """An announcement with an update of its own, because what was announced before is not news."""
    own = np.frombuffer(other.update.data[4:], "<f4").tolist()
    other.update = update_of([*own[:3], round_ / 100])
    bench.receive(other, round_)


def asked(
    bench: Bench, others: list[RemotePeer], effects: list[Effect] | None = None, round_: int = 0
) -> Confirm:
    """Hear of these neighbours, train, and answer about their evidence: up to the question about each by itself."""
    effects = bench.start() if effects is None else effects
    for other in others:
        hear(bench, other, round_)
    effects = bench.publish(bench.answer(effects))
    while not every(effects, Confirm):
        effects = [*effects[1:], *bench.tell(bench.learner.answer(requests(effects).pop(0)))]
        effects = [one for one in effects if one in requests(effects)]
    return only(effects, Confirm)


def confirmed(bench: Bench, confirm: Confirm, results: Mapping[str, Confirmation]) -> list[Effect]:
    """The effects of this answer, by author; `twin` counts from the finalists of the question."""
    answers = [
        msgspec.structs.replace(result, twin=index if result.twin == 0 else result.twin)
        for index, result in enumerate(results[one.author] for one in confirm.finalists)
    ]
    return bench.tell(Confirmed(request=confirm.request, own_loss=1.0, results=tuple(answers)))


def round_in(effects: list[Effect]) -> Round:
    (record,) = [one.record for one in every(effects, Log) if isinstance(one.record, Round)]
    return record


def seen(effects: list[Effect]) -> dict[str, Seen]:
    return {one.name: one for one in round_in(effects).seen}


def test_one_that_harms_is_left_out_and_the_others_are_merged(bench: Bench, others: list[RemotePeer]) -> None:
    ann, ben, cleo = others
    confirm = asked(bench, others)
    effects = confirmed(bench, confirm, {ann.id: GOOD, ben.id: BAD, cleo.id: GOOD})
    assert len(only(effects, Evaluate).updates) == 2
    shown = seen(bench.finish(effects))
    assert shown["ben"].weight == 0.0
    assert shown["ben"].left == "harmful"
    assert shown["ben"].gain == -0.5
    assert shown["ann"].weight > 0
    assert shown["cleo"].weight > 0


@pytest.mark.parametrize(
    ("result", "left"),
    [
        (msgspec.structs.replace(GOOD, gain=-0.2, error=0.1), "harmful"),
        (msgspec.structs.replace(GOOD, gain=math.nan), "harmful"),
        (msgspec.structs.replace(GOOD, gain=-math.inf), "harmful"),
        (msgspec.structs.replace(GOOD, gain=0.05, error=0.1), "useless"),
        (msgspec.structs.replace(GOOD, gain=0.0, error=0.0), "useless"),
        (msgspec.structs.replace(GOOD, mismatch=BIND_TOLERANCE * 1.01), "unbound"),
        (msgspec.structs.replace(GOOD, mismatch=math.nan), "unbound"),
        (msgspec.structs.replace(GOOD, twin=-1), "own"),
        (msgspec.structs.replace(GOOD, size=65.0), "loud"),
        (msgspec.structs.replace(GOOD, size=math.nan), "loud"),
        (msgspec.structs.replace(GOOD, mismatch=BIND_TOLERANCE), None),
    ],
)
def test_what_was_measured_says_who_is_left_out(
    bench: Bench, others: list[RemotePeer], result: Confirmation, left: LeftOut | None
) -> None:
    ann, ben, cleo = others
    effects = confirmed(bench, asked(bench, others), {ann.id: GOOD, ben.id: result, cleo.id: GOOD})
    assert seen(bench.finish(effects))["ben"].left == left


def test_where_nobody_is_left_the_round_ends_alone_and_says_why(
    bench: Bench, others: list[RemotePeer]
) -> None:
    effects = confirmed(bench, asked(bench, others), dict.fromkeys((one.id for one in others), BAD))
    assert only(effects, Merge).row == (1.0,)
    ended = bench.finish(effects)
    assert {one.left for one in seen(ended).values()} == {"harmful"}
    assert round_record(ended).guard == "refused"


def test_the_second_refused_merge_in_a_row_is_told_with_the_names(
    bench: Bench, others: list[RemotePeer]
) -> None:
    effects = bench.start()
    told: list[list[str]] = []
    for round_ in range(2):
        confirm = asked(bench, others, effects, round_)
        effects = bench.finish(confirmed(bench, confirm, dict.fromkeys((one.id for one in others), BAD)))
        told.append([one.record.text for one in every(effects, Log) if isinstance(one.record, Note)])
        bench.tell_stored(effects)
    assert told[0] == []
    line, alone = told[1]
    assert "nobody here helps you: 2 rounds in a row" in alone
    assert all(f"{name} (raised the trust loss, -0.5)" in line for name in NAMES)


@pytest.mark.parametrize(("far", "guard", "pause"), [(2.0, "taken", 0), (10.0, "shrunk", LEAST_PAUSE)])
def test_a_merge_that_had_to_be_shrunk_is_made_but_counts_as_no_help(
    far: float, guard: Guard, pause: int
) -> None:
    bench, ann = (
        Bench(defence=replace(DEFENCE, fruitless=1)),
        RemotePeer("ann", update=update_of([far, 0, 0, 0])),
    )
    ended = bench.finish(confirmed(bench, asked(bench, [ann]), {ann.id: GOOD}))
    assert (round_in(ended).guard, round_in(ended).asks_in) == (guard, pause)
    assert seen(ended)["ann"].weight > 0


def test_of_twins_the_one_with_more_standing_counts_then_the_one_heard_first(bench: Bench) -> None:
    first, second, third = others = [RemotePeer(name) for name in ("zoe", "ann", "mia")]
    confirm = asked(bench, others)
    assert [one.author for one in confirm.finalists] == [first.id, second.id, third.id]

    later = Bench(defence=DEFENCE)
    effects = later.start()
    for _ in range(2):
        neighbourhood(later.core).seats.gained(third.id)
    confirm = asked(later, others, effects)
    assert [one.author for one in confirm.finalists] == [third.id, first.id, second.id]


def test_a_twin_is_named_with_the_one_that_stands_for_it(bench: Bench, others: list[RemotePeer]) -> None:
    confirm = asked(bench, others)
    first, second, third = confirm.finalists
    answer = [GOOD, msgspec.structs.replace(GOOD, twin=0), msgspec.structs.replace(GOOD, twin=2)]
    effects = bench.tell(Confirmed(request=confirm.request, own_loss=1.0, results=tuple(answer)))
    by_peer = {one.peer: one for one in seen(bench.finish(effects)).values()}
    assert by_peer[second.author].left == "twin"
    assert by_peer[second.author].twin_of == first.author
    assert by_peer[second.author].weight == 0.0
    assert by_peer[first.author].left is by_peer[third.author].left is None


def test_gains_earn_a_standing_slowly_and_harm_takes_it_away(bench: Bench, others: list[RemotePeer]) -> None:
    ann, ben, cleo = others
    effects = bench.start()
    seats = neighbourhood(bench.core).seats
    for round_ in range(3):
        confirm = asked(bench, others, effects, round_)
        results = {
            ann.id: GOOD,
            ben.id: GOOD if round_ < 2 else BAD,
            cleo.id: msgspec.structs.replace(GOOD, gain=0.0),
        }
        effects = bench.finish(confirmed(bench, confirm, results))
        if round_ == 0:
            assert not seats.seated(ann.id)
        if round_ == 1:
            assert seats.seated(ann.id)
            assert seats.seated(ben.id)
        bench.tell_stored(effects)
    assert seats.seated(ann.id)
    assert not seats.seated(ben.id)
    assert seats.level(cleo.id) == 0.0
    assert {one.peer for one in only(effects, Store).saved.seats} == {ann.id, ben.id}


def test_predictions_of_another_update_cost_their_author_its_standing_and_a_fine(
    bench: Bench, others: list[RemotePeer]
) -> None:
    ann, ben, cleo = others
    effects = bench.start()
    for _ in range(4):
        neighbourhood(bench.core).seats.gained(ben.id)
    confirm = asked(bench, others, effects)
    forged = msgspec.structs.replace(GOOD, mismatch=0.9)
    effects = confirmed(bench, confirm, {ann.id: GOOD, ben.id: forged, cleo.id: GOOD})
    (refusal,) = [one.record for one in every(effects, Log) if isinstance(one.record, Refusal)]
    assert (refusal.about, refusal.field) == (ben.id, "evidence")
    assert neighbourhood(bench.core).seats.level(ben.id) == 0.0
    assert neighbourhood(bench.core).scores.score(ben.id, bench.now) < 0


def test_rows_are_challenged_that_the_author_cannot_foretell(others: list[RemotePeer]) -> None:
    one = asked(Bench(defence=DEFENCE), others)
    again = asked(Bench(defence=DEFENCE), others)
    rows = [finalist.rows for finalist in one.finalists]
    assert rows == [finalist.rows for finalist in again.finalists]
    assert all(0 < len(set(each)) == len(each) <= DEFENCE.bind_rows for each in rows)
    assert all(list(each) == sorted(each) for each in rows)


def test_the_row_of_newcomers_is_capped_until_they_have_seats(others: list[RemotePeer]) -> None:
    bench = Bench(defence=DefenceConfig(newcomers=0.25, own_share=0.1))
    results = dict.fromkeys((one.id for one in others), GOOD)
    effects = confirmed(bench, asked(bench, others), results)
    assert all(sum(row[1:]) <= 0.25 + 1e-9 for row in only(effects, Evaluate).rows)


def test_who_is_alone_in_a_row_has_the_weight_that_it_earned_among_those_that_were_tried() -> None:
    useless = msgspec.structs.replace(GOOD, gain=0.0)

    def weights(earned: int) -> list[float]:
        bench, others = Bench(defence=DEFENCE), [RemotePeer(name) for name in NAMES]
        *proven, lone = others
        effects = bench.start()
        for one, rounds in (*((one, 4) for one in proven), (lone, earned)):
            for _ in range(rounds):
                neighbourhood(bench.core).seats.gained(one.id)
        answers = dict.fromkeys((one.id for one in proven), useless) | {lone.id: GOOD}
        effects = confirmed(bench, asked(bench, others, effects), answers)
        return [row[1] for row in only(effects, Evaluate).rows[:-1]]

    assert min(weights(4)) > 0
    assert weights(1) == pytest.approx([weight / 16 for weight in weights(4)])


def fallen_behind(bench: Bench, others: list[RemotePeer]) -> tuple[list[Effect], int, Content | None]:
    """The effects with which a peer of rising loss goes back, the round, and its last good state."""
    results = dict.fromkeys((one.id for one in others), GOOD)
    effects = bench.start()
    trusts = (1.0, 0.9, 0.8, 1.5, 1.6)
    good, round_ = None, 0
    for round_, loss in enumerate(trusts):
        for other in others:
            hear(bench, other, round_)
        trained = bench.answer_to(effects)
        assert isinstance(trained, Trained)
        trained = msgspec.structs.replace(trained, trust_loss=loss)
        if round_ == 2:
            good = trained.snapshot
        effects = bench.publish(bench.tell(trained))
        while not every(effects, Confirm) and not every(effects, Restore):
            effects = [*requests(effects)[1:], *bench.tell(bench.learner.answer(requests(effects)[0]))]
        if every(effects, Restore):
            break
        effects = bench.finish(confirmed(bench, only(effects, Confirm), results))
        bench.tell_stored(effects)
    return effects, round_, good


def test_a_peer_that_fell_behind_goes_back_within_two_rounds_and_trains_alone(
    others: list[RemotePeer],
) -> None:
    bench = Bench(defence=DEFENCE)
    ann, *_ = others
    effects, round_, good = fallen_behind(bench, others)
    assert round_ == 4
    assert only(effects, Restore).snapshot == good
    assert not only(effects, Restore).keeps_average, "merges that did harm are in it"
    ended = bench.finish(effects)
    (note,) = [one.record for one in every(ended, Log) if isinstance(one.record, Note)]
    assert "back to the last good state" in note.text
    assert round_in(ended).guard == "returned"
    assert neighbourhood(bench.core).seats.seated(ann.id), "nobody is blamed before steps alone were seen"
    assert only(ended, Store).saved.course.waits == 1

    for other in others:
        hear(bench, other, 9)
    alone = bench.publish(bench.answer(ended))
    assert not every(alone, Confirm)
    assert not neighbourhood(bench.core).seats.seated(ann.id)


def test_a_learner_that_dies_over_going_back_ends_the_round_alone(others: list[RemotePeer]) -> None:
    bench = Bench(defence=DEFENCE)
    effects, *_ = fallen_behind(bench, others)
    for _ in range(MERGE_TRIES):
        restore = only(effects, Restore)
        effects = bench.tell(Failed(request=restore.request, why="killed", users_fault=False))
        wake = only([one for one in every(effects, WakeAt) if isinstance(one.timer, Reopening)], WakeAt)
        bench.now = wake.at
        effects = bench.answer(bench.tell(Woke(timer=wake.timer)))
        while requests(effects) and not any(isinstance(one, Restore | Merge) for one in effects):
            effects = [*requests(effects)[1:], *bench.tell(bench.learner.answer(requests(effects)[0]))]
    assert only(effects, Merge).row == (1.0,)


@pytest.mark.parametrize("banned_while", ["tried", "measured", "measured again"])
def test_one_that_is_banned_while_the_row_is_decided_is_out_and_the_others_are_merged(
    bench: Bench, others: list[RemotePeer], banned_while: str
) -> None:
    ann, ben, cleo = others
    good = {one.id: GOOD for one in others}
    effects: list[Effect] = [asked(bench, others)]
    if banned_while != "tried":
        effects = confirmed(bench, only(effects, Confirm), good)
    if banned_while == "measured again":
        evaluate = only(effects, Evaluate)
        worse = tuple(2.0 for _ in evaluate.rows[1:])
        losses, nothing = (*worse, 1.0), (0.0,) * len(evaluate.rows)
        effects = bench.tell(
            Evaluated(request=evaluate.request, losses=losses, proposed=losses, gains=nothing, errors=nothing)
        )

    bench.tell(Blocked(peers=(ben.id,)))
    effects = bench.answer(effects)

    again = only(effects, Confirm)
    assert {one.author for one in again.finalists} == {ann.id, cleo.id}
    effects = bench.answer(confirmed(bench, again, good))
    assert len(only(effects, Merge).updates) == 2
    assert "ben" not in seen(bench.finish(effects))
