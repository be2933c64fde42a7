"""Settling: a peer ends at its best state, rests there, and wakes for news only."""

from __future__ import annotations

import math

import pytest

from gossipllm.work import Open, Train
from peers.core.effects import Effect, Pull, Store
from peers.core.events import Comparing, LearnerLost, TextChanged, Woke
from peers.core.plateau import MOST_PAUSE_S, PAUSE_S, Plateau, SettleConfig
from peers.core.round.stages import Settled
from peers.core.saved import Saved
from support.core_bench import TARGET, Bench, RemotePeer, update_of
from support.effects import every, notes, only, records, requests
from support.settlers import LEAN, SETTLE, rounds_of, saved_by, settled, settler
from trust.record.history import Round
from wire.codec import decode_announcement
from wire.digest import Content


def compared(bench: Bench, *, after: float) -> list[Effect]:
    bench.now += after
    return bench.tell(Woke(timer=Comparing()))


# -- alone ------------------------------------------------------------------------------------------


def test_alone_a_peer_that_overtrains_ends_at_its_best_state_and_announces_it() -> None:
    _, rounds = settled()
    best = min(rounds, key=lambda one: one.trust_alone)
    assert rounds[-1].trust_merged == best.trust_alone
    assert rounds[-1].settled
    assert rounds[-1].steps == 0
    never = Bench(lean=LEAN)
    effects = never.start()
    for _ in rounds:
        effects = never.finish(never.publish(never.answer(effects)))
    (last,) = [one for one in records(effects) if isinstance(one, Round)]
    assert last.trust_merged > 2 * best.trust_alone, "without settling it is far past it"


def test_the_best_state_is_what_the_disk_has_and_what_neighbours_are_shown() -> None:
    bench = settler()
    *_, ended = rounds_of(bench, bench.start())
    saved = saved_by(ended)
    (round_,) = [one for one in records(ended) if isinstance(one, Round)]
    assert saved.best_snapshot == saved.snapshot
    announced = decode_announcement(saved.frame).announcement
    assert announced.round == round_.round
    assert saved.update is not None
    assert announced.update.digest == saved.update.digest
    assert bench.core.blob(announced.update.digest, "anybody") == saved.update.data
    assert round_.trust_merged == saved.plateau.least


def test_the_rate_falls_before_the_peer_settles_and_the_history_has_it() -> None:
    _, rounds = settled()
    assert sorted({one.rate for one in rounds if one.steps}, reverse=True) == [1.0, 0.3]
    assert [one.guard for one in rounds].count("recalled") == 2


def test_the_user_is_told_why_and_what_wakes_it() -> None:
    bench = settler()
    told = [text for effects in rounds_of(bench, bench.start()) for text in notes(effects)]
    lowered, rests = told
    assert "at 0.3 of the learning rate" in lowered
    assert rests.startswith(
        "settled: the trust loss has not fallen by 0.002 in 3 rounds; back to the best state"
    )
    assert "a neighbour's news" in rests


def test_the_best_state_is_exported_before_the_peer_settles_too() -> None:
    bench = settler()
    states = [saved_by(effects) for effects in rounds_of(bench, bench.start())]
    worse = [one for one in states if one.best is not None and not one.plateau.lowered]
    assert len(worse) == SETTLE.patience - 1, "rounds past its best, before it went back to it"
    (best,) = {one.best_snapshot for one in worse}
    assert best in [one.snapshot for one in states]
    assert best not in [one.snapshot for one in worse]


def test_without_a_guard_or_with_no_patience_nothing_settles() -> None:
    for bench in (
        Bench(lean=LEAN, settle=SETTLE, rounds={"guard": False}),
        Bench(lean=LEAN, settle=SettleConfig(patience=0)),
    ):
        effects = bench.start()
        for _ in range(30):
            effects = bench.finish(bench.publish(bench.answer(effects)))
        assert only(effects, Train).steps == 1
        assert saved_by(effects).best is None


def test_a_run_of_so_many_rounds_ends_at_its_best_state() -> None:
    bench = Bench(lean=LEAN, settle=SettleConfig(patience=50), rounds={"rounds": 20})
    states = [saved_by(effects) for effects in rounds_of(bench, bench.start())]
    last = states[-1]
    assert last.plateau.least_round < 18
    assert last.snapshot == states[-2].best
    assert last.snapshot != states[-2].snapshot


# -- what a crash costs -----------------------------------------------------------------------------


def test_a_crash_at_any_moment_leads_to_the_same_best_state() -> None:
    bench, saved = settler(), list[Saved]()
    effects = bench.start()
    while every(effects, Train):
        effects = bench.answer(effects)
        saved.append(saved_by(effects))
        effects = bench.finish(bench.publish(effects))
        saved.append(saved_by(effects))
        bench.tell_stored(effects)
    least = saved[-1].plateau.least
    for one in saved:
        after = settler(saved=one)
        effects = after.start()
        if one.stage == "published":
            if every(effects, Store):
                effects = after.publish(effects)
            effects = after.finish(effects)
            after.tell_stored(effects)
        ends = list(rounds_of(after, effects))
        assert after.core.stage == Settled()
        if ends:
            assert saved_by(ends[-1]).plateau.least == pytest.approx(least)


# -- at rest ----------------------------------------------------------------------------------------


def test_at_rest_an_hour_costs_nothing_but_comparisons(alice: RemotePeer) -> None:
    bench, _ = settled()
    bench.meet(alice)
    for _ in range(120):
        effects = compared(bench, after=30.0)
        assert not requests(effects)
        assert not every(effects, Store)
        assert not every(effects, Pull)
        assert len(effects) == 2, "a greeting and the next timer"


def test_news_begins_a_round_without_local_steps_and_what_was_weighed_is_no_news(alice: RemotePeer) -> None:
    bench, _ = settled()
    bench.meet(alice)
    alice.update = update_of(TARGET)
    effects = bench.receive(alice)
    assert not every(effects, Train), "not so soon after the last look"
    assert not every(effects, Pull), "and nothing is fetched meanwhile"
    effects = compared(bench, after=10 * PAUSE_S)
    assert only(effects, Train).steps == 0
    before = only(bench.answer(effects), Store).saved
    assert before.plateau.settled


def look(bench: Bench, effects: list[Effect], teacher: RemotePeer) -> list[Effect]:
    """Through a round without local steps, from its `Train` to its end, in which the teacher's blobs come."""
    assert only(effects, Train).steps == 0
    effects = bench.publish(bench.answer(effects))
    return bench.finish(
        [*effects, *(one for pull in every(effects, Pull) for one in bench.give(pull, teacher))]
    )


def taught(bench: Bench, teacher: RemotePeer, update: list[float], round_: int) -> list[Effect]:
    """A settled peer hears an update long after its last look, and looks; the effects of the look's end."""
    teacher.update = update_of(update)
    bench.now += 100_000.0
    return look(bench, bench.receive(teacher, round_), teacher)


def test_news_that_helps_wakes_and_news_that_does_not_lets_rest(alice: RemotePeer) -> None:
    bench, _ = settled()
    bench.meet(alice)
    vain = taught(bench, alice, [9.0, 9.0, 9.0, 9.0], 0)
    assert bench.core.stage == Settled()
    assert not every(vain, Train)
    assert not notes(vain)
    helped = taught(bench, alice, [1.0, 0.0, 0.0, 0.0], 1)
    assert only(helped, Train).steps == 1
    assert only(helped, Train).rate == 1.0
    assert any("training again" in text for text in notes(helped))


def test_a_neighbour_that_never_stops_announcing_wakes_a_peer_ever_more_seldom(alice: RemotePeer) -> None:
    bench, _ = settled()
    bench.meet(alice)
    hours, looks = 12, 0
    for number in range(hours * 60):
        alice.update = update_of([9.0, 9.0, 9.0, float(number)])
        bench.now += 60.0
        effects = bench.receive(alice, number)
        if every(effects, Train):
            looks += 1
            bench.tell_stored(look(bench, effects, alice))
        assert bench.core.stage == Settled()
    doublings = math.log2(MOST_PAUSE_S / PAUSE_S)
    assert doublings < looks <= doublings + hours


def test_a_learner_that_dies_at_rest_is_opened_when_it_is_needed(alice: RemotePeer) -> None:
    bench, _ = settled()
    bench.meet(alice)
    assert not bench.tell(LearnerLost(why="killed"))
    assert not requests(compared(bench, after=1000.0))
    opening = bench.receive(alice)
    assert only(opening, Open).snapshot is not None
    assert only(bench.answer(opening), Train).steps == 0


def test_more_rounds_wake_a_settled_peer_and_a_restart_alone_does_not() -> None:
    bench = settler(rounds=50)
    *_, ended = rounds_of(bench, bench.start())
    saved = saved_by(ended)
    assert saved.plateau.settled
    again = settler(saved=saved, rounds=50)
    again.start()
    assert again.core.stage == Settled()
    more = settler(saved=saved, rounds=80)
    assert only(more.start(), Train).steps == 1


# -- text that grows --------------------------------------------------------------------------------


OLD_TEXT, MORE_TEXT = Content.of(b"old"), Content.of(b"old and new")


def settled_on(text: Content) -> Bench:
    bench = settler()
    bench.learner.text = text
    list(rounds_of(bench, bench.start()))
    return bench


def test_text_that_grew_wakes_a_settled_peer_and_its_losses_up_to_now_are_forgotten() -> None:
    bench = settled_on(OLD_TEXT)
    bench.learner.text = MORE_TEXT
    opening = only(bench.tell(TextChanged()), Open)
    assert opening.text == OLD_TEXT
    effects = bench.tell(bench.learner.answer(opening))
    assert only(effects, Train).steps == 1
    assert any("its text grew" in text for text in notes(effects))
    saved = saved_by(effects)
    assert (saved.text, saved.plateau, saved.course.best) == (MORE_TEXT, Plateau(), None)
    list(rounds_of(bench, effects))
    assert bench.core.stage == Settled()


def test_files_that_were_only_touched_let_a_settled_peer_rest() -> None:
    bench = settled_on(OLD_TEXT)
    effects = bench.tell(bench.learner.answer(only(bench.tell(TextChanged()), Open)))
    assert bench.core.stage == Settled()
    assert not every(effects, Train)
    assert not every(effects, Store)


def test_while_a_round_goes_on_the_text_is_read_when_it_is_over() -> None:
    bench = settler()
    bench.learner.text = OLD_TEXT
    published = bench.publish(bench.answer(bench.start()))
    assert not bench.tell(TextChanged())
    ended = bench.finish(published)
    bench.learner.text = MORE_TEXT
    opening = only(ended, Open)
    assert opening.snapshot == saved_by(ended).snapshot
    assert only(bench.tell(bench.learner.answer(opening)), Train).round == 1
    assert not every(bench.tell(TextChanged()), Open), "and the next time after the next round"


def test_the_first_ledger_of_a_home_is_stored_before_anything_is_trained() -> None:
    bench = settler()
    bench.learner.text = OLD_TEXT
    effects = bench.start()
    assert saved_by(effects).text == OLD_TEXT
    assert not [text for text in notes(effects) if "grew" in text]


def test_a_peer_that_has_done_all_its_rounds_reads_no_new_text() -> None:
    bench = Bench(rounds={"rounds": 1})
    bench.finish(bench.publish())
    assert not bench.tell(TextChanged())
