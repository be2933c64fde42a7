"""A round, step by step: what is asked for in which order, and what happens when something goes wrong."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from gossipllm.work import Declined, Evaluate, Evaluated, Failed, Merge, Open, Train, Weigh, Weighed
from peers.core.effects import Greet, Publish, Stop, Store, WakeAt
from peers.core.events import (
    Connected,
    Deadline,
    Heard,
    LearnerLost,
    NotStored,
    Reopening,
    SavingAgain,
    Started,
    Stored,
    Woke,
)
from peers.core.rounds import MERGE_TRIES, SHORT_ROUND_S
from peers.core.stages import Gathering, Opening, Resting, Saving, Training
from trust.history import Begun
from trust.rows import TrustConfig
from wire.codec import decode_announcement


def weighed(weigh: Weigh, mean: float, error: float) -> Weighed:
    """An answer with one distance and its error."""
    return Weighed(request=weigh.request, author=weigh.author, distances=(mean,), errors=(error,), own=(0.0,))


# -- the plain round --------------------------------------------------------------------------------


def test_a_peer_alone_trains_and_does_not_wait(bench: Any, script: Any) -> None:
    effects = bench.publish()

    merge = script.only(effects, Merge)
    assert (merge.row, merge.updates) == ((1.0,), ())
    ended = bench.answer(effects)
    (record,) = script.records(ended)
    assert (record.self_weight, record.guard, record.gather_s) == (1.0, "alone", 0.0)
    assert script.only(ended, Train).round == 1


def test_nothing_is_published_before_it_is_stored(bench: Any, script: Any) -> None:
    saving = bench.train()

    store = script.only(saving, Store)
    assert not script.every(saving, Publish)
    assert store.saved.stage == "published"
    published = script.only(bench.publish(saving), Publish)
    assert published.frame == store.saved.frame


def test_the_answer_to_another_store_publishes_nothing(bench: Any, script: Any) -> None:
    generation = script.only(bench.train(), Store).saved.generation
    assert not bench.tell(Stored(generation=generation - 1))
    assert not bench.tell(Stored(generation=generation + 1))
    assert isinstance(bench.core.stage, Saving)


def test_the_announcement_is_of_the_saved_state(bench: Any, script: Any) -> None:
    saved = script.only(bench.train(), Store).saved
    announcement = decode_announcement(saved.frame).announcement
    assert announcement.update.digest == saved.update.digest
    assert announcement.evidence.digest == saved.evidence.digest
    assert announcement.round == saved.round == 0
    assert saved.snapshot == saved.update, "the toy's snapshot is its update"


def test_what_is_served_is_what_was_published(bench: Any, script: Any) -> None:
    """Also while the next announcement waits for the disk: nobody knows of that one yet."""
    first = bench.publish()
    shown = script.only(first, Publish).frame
    ended = bench.answer(first)
    bench.answer(ended)

    assert isinstance(bench.core.stage, Saving)
    assert bench.core.blob(decode_announcement(shown).announcement.update.digest) is not None


def test_each_announcement_names_the_one_before(bench: Any, script: Any) -> None:
    first = bench.publish()
    second = bench.publish(bench.answer(bench.finish(first)))
    one, two = (decode_announcement(script.only(effects, Publish).frame) for effects in (first, second))
    assert (one.announcement.round, two.announcement.round) == (0, 1)
    assert two.announcement.previous == one.digest


def test_a_neighbour_is_weighed_measured_and_merged(bench: Any, script: Any) -> None:
    alice = script.Someone("alice")
    effects = bench.start()
    bench.meet(alice)
    bench.receive(alice)
    weighing = bench.publish(bench.answer(effects))
    assert script.only(weighing, Weigh).author == alice.id
    evaluating = bench.answer(weighing)
    assert script.only(evaluating, Evaluate).rows[-1] == (1.0, 0.0), "keeping everything is always measured"
    merging = bench.answer(evaluating)
    assert script.only(merging, Merge).updates == (alice.update,)
    ended = bench.answer(merging)

    (record,) = script.records(ended)
    assert record.guard == "taken"
    assert [seen.name for seen in record.seen] == ["alice"]
    assert record.trust_merged < record.trust_alone
    assert math.isclose(record.self_weight + record.seen[0].weight, 1.0)
    assert script.only(ended, Store).saved.round == 1
    assert isinstance(bench.core.stage, Training)


def test_a_harmful_neighbour_is_refused(bench: Any, script: Any) -> None:
    alice = script.Someone("alice", update=script.update_of([-5.0, 0.0, 0.0, 0.0]))
    effects = bench.start()
    bench.receive(alice)
    ended = bench.finish(bench.publish(bench.answer(effects)))

    (record,) = script.records(ended)
    assert record.guard == "refused"
    assert record.self_weight == 1.0
    assert record.seen[0].weight == 0.0


# -- whom to wait for -------------------------------------------------------------------------------


def test_the_round_waits_for_a_neighbour_that_it_met_until_patience_ends(bench: Any, script: Any) -> None:
    alice = script.Someone("alice")
    effects = bench.start()
    bench.meet(alice)
    waiting = bench.publish(bench.answer(effects))

    assert isinstance(bench.core.stage, Gathering)
    assert script.only(bench.lose_patience(waiting), Merge).row == (1.0,)


def test_a_neighbour_that_never_says_anything_is_waited_for_in_two_rounds_only(
    bench: Any, script: Any
) -> None:
    alice = script.Someone("alice")
    effects = bench.start()
    bench.meet(alice)
    waited = []
    for _ in range(4):
        effects = bench.publish(bench.answer(effects))
        waited.append(not script.every(effects, Merge))
        effects = bench.answer(bench.lose_patience(effects) if waited[-1] else effects)

    assert waited == [True, True, False, False]


def test_a_stranger_that_never_greeted_is_not_waited_for(bench: Any, script: Any) -> None:
    effects = bench.start()
    bench.tell(Connected(peer="stranger"))
    assert script.only(bench.publish(bench.answer(effects)), Merge).row == (1.0,)


def test_the_wait_ends_when_everybody_who_is_awaited_is_here(bench: Any, script: Any) -> None:
    alice, bob = script.Someone("alice"), script.Someone("bob")
    effects = bench.start()
    bench.meet(alice, bob)
    bench.publish(bench.answer(effects))

    assert not script.every(bench.answer(bench.receive(alice)), Evaluate)
    assert script.every(bench.answer(bench.receive(bob)), Evaluate)


def test_a_quorum_ends_the_wait_early(script: Any) -> None:
    bench = script.Bench(rounds={"quorum": 1})
    alice, bob = script.Someone("alice"), script.Someone("bob")
    effects = bench.start()
    bench.meet(alice, bob)
    bench.publish(bench.answer(effects))
    assert script.every(bench.answer(bench.receive(alice)), Evaluate)


def test_patience_is_no_longer_than_the_local_steps_took(script: Any) -> None:
    """Else a device ten times as fast as its neighbour would be held to the neighbour's pace."""
    bench = script.Bench(rounds={"patience_s": 1000.0})
    effects = bench.start()
    trained = msgspec.structs.replace(bench.answer_to(effects), seconds=60.0)
    wakes = script.every(bench.publish(bench.tell(trained)), WakeAt)
    assert [one.at - bench.now for one in wakes] == [60.0]

    bench = script.Bench(rounds={"patience_s": 1000.0})
    wakes = script.every(bench.publish(), WakeAt)
    assert [one.at - bench.now for one in wakes] == [SHORT_ROUND_S]


def test_a_neighbour_that_announces_again_and_again_does_not_keep_us(bench: Any, script: Any) -> None:
    """Once patience has ended, what is being weighed is the last."""
    alice, bob = script.Someone("alice"), script.Someone("bob")
    effects = bench.start()
    bench.meet(alice, bob)
    waiting = bench.publish(bench.answer(effects))
    weighing = bench.receive(alice, 0)
    bench.lose_patience(waiting)
    for round_ in range(1, 20):
        assert not script.every(bench.receive(alice, round_), Weigh)

    assert script.every(bench.answer(weighing), Evaluate)


def test_a_resting_neighbour_far_ahead_is_not_waited_for(bench: Any, script: Any) -> None:
    """It finished all its rounds; its last word is used while it is young, and never awaited again."""
    alice = script.Someone("alice")
    effects = bench.start()
    bench.meet(alice)
    bench.receive(alice, 30)
    waited, members = [], []
    for _ in range(8):
        effects = bench.publish(bench.answer(effects))
        waited.append(not (script.every(effects, Merge) or script.every(effects, Weigh)))
        effects = bench.finish(effects)
        members.append(len(script.records(effects)[0].seen))

    assert waited == [False] * 8
    assert members == [1, 1, 1, 1, 1, 0, 0, 0]


def test_local_training_waits_for_nobody_and_fetches_nothing(script: Any) -> None:
    bench = script.Bench(trust=TrustConfig(strategy="local"))
    alice = script.Someone("alice")
    effects = bench.start()
    bench.meet(alice)
    bench.tell(Heard(frame=alice.announce(0), via=alice.id))
    assert script.only(bench.publish(bench.answer(effects)), Merge).row == (1.0,)


def test_at_most_as_many_are_merged_as_are_partners(script: Any) -> None:
    bench = script.Bench(rounds={"most_partners": 2, "explore": 1})
    effects = bench.start()
    for name in "abcdefgh":
        bench.receive(script.Someone(name))
    ended = bench.finish(bench.publish(bench.answer(effects)))
    assert len(script.records(ended)[0].seen) == 2


# -- bad answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("distance", "error"), [(math.nan, 0.0), (math.inf, 0.0), (-1.0, 0.0), (1.0, math.nan), (1e101, 0.0)]
)
def test_a_distance_that_is_none_is_declined_without_a_fine(
    bench: Any, script: Any, distance: float, error: float
) -> None:
    alice = script.Someone("alice")
    effects = bench.start()
    bench.receive(alice)
    weigh = script.only(bench.publish(bench.answer(effects)), Weigh)

    effects = bench.tell(weighed(weigh, distance, error))

    assert script.only(effects, Merge).row == (1.0,)
    assert [one.field for one in script.records(effects)] == ["distance"]
    assert bench.core.welcome(alice.id, bench.now)


def test_a_distance_below_zero_is_one_where_losses_are_compared(script: Any) -> None:
    bench = script.Bench(trust=TrustConfig(strategy="validation"))
    alice = script.Someone("alice")
    effects = bench.start()
    bench.receive(alice)
    weigh = script.only(bench.publish(bench.answer(effects)), Weigh)
    effects = bench.tell(weighed(weigh, -1.0, 0.1))
    assert script.every(effects, Evaluate)


def test_declined_content_costs_its_author(bench: Any, script: Any) -> None:
    alice = script.Someone("alice")
    effects = bench.start()
    bench.receive(alice)
    weigh = script.only(bench.publish(bench.answer(effects)), Weigh)

    effects = bench.tell(Declined(request=weigh.request, author=alice.id, field="update", why="no"))

    assert script.only(effects, Merge).row == (1.0,)
    assert not bench.core.welcome(alice.id, bench.now)


def test_one_who_is_banned_while_we_gather_is_not_merged(bench: Any, script: Any) -> None:
    alice, bob = script.Someone("alice"), script.Someone("bob")
    effects = bench.start()
    bench.meet(alice, bob)
    bench.publish(bench.answer(effects))
    bench.answer(bench.receive(alice, 3))
    bench.tell(Heard(frame=alice.announce(3, tokens=2), via=bob.id))
    ended = bench.finish(bench.receive(bob, 3))

    assert [seen.name for seen in script.records(ended)[0].seen] == ["bob"]


def test_a_merge_that_gives_no_number_is_undone(bench: Any, script: Any) -> None:
    alice = script.Someone("alice")
    effects = bench.start()
    bench.receive(alice)
    merging = bench.answer(bench.answer(bench.publish(bench.answer(effects))))
    broken = msgspec.structs.replace(bench.answer_to(merging), trust_loss=math.nan)

    lost = bench.tell(broken)

    assert not script.every(lost, Store)
    assert "the merge has a loss of nan" in script.notes(lost)[0]
    again = bench.answer(bench.tell(Woke(timer=Reopening()), after=1.0))
    assert script.only(again, Publish)
    assert script.only(again, Merge).row == (1.0,), "this round ends alone"


def test_losses_that_are_no_numbers_leave_the_peer_as_it_is(bench: Any, script: Any) -> None:
    alice = script.Someone("alice")
    effects = bench.start()
    bench.receive(alice)
    effects = bench.answer(bench.publish(bench.answer(effects)))
    while not script.every(effects, Merge):
        evaluate = script.only(effects, Evaluate)
        losses = (*[math.nan] * (len(evaluate.rows) - 1), 1.0)
        effects = bench.tell(Evaluated(request=evaluate.request, losses=losses, errors=losses))
    assert script.only(effects, Merge).row == (1.0,)


def test_late_and_repeated_answers_change_nothing(bench: Any, script: Any) -> None:
    alice = script.Someone("alice")
    effects = bench.start()
    bench.receive(alice)
    heard = []
    while not script.every(effects, Merge):
        if script.every(effects, Store):
            effects = bench.publish(effects)
        heard.append(bench.answer_to(effects))
        effects = bench.tell(heard[-1])
    assert {type(one).__name__ for one in heard} == {"Trained", "Weighed", "Evaluated"}
    stage = bench.core.stage

    for answer in heard:
        assert bench.tell(answer) == []
        late = Failed(request=answer.request, why="late", users_fault=True)
        assert bench.tell(late) == []
    assert bench.core.stage == stage


# -- the learner dies -------------------------------------------------------------------------------


def revive(bench: Any, script: Any, lost: list[Any]) -> list[Any]:
    wake = script.only(lost, WakeAt)
    return bench.tell(Woke(timer=wake.timer), after=wake.at - bench.now)


def test_lost_while_opening_it_is_opened_again_after_longer_and_longer_pauses(
    bench: Any, script: Any
) -> None:
    bench.tell(Started())
    pauses = []
    for _ in range(1200):
        lost = bench.tell(LearnerLost(why="exit code -9"))
        pauses.append(script.only(lost, WakeAt).at - bench.now)
        assert script.only(revive(bench, script, lost), Open)

    assert pauses[:7] == [1, 2, 4, 8, 16, 30, 30]
    assert set(pauses[7:]) == {30}


def test_pauses_begin_anew_only_after_a_whole_round(bench: Any, script: Any) -> None:
    def pause() -> float:
        return script.only(lost, WakeAt).at - bench.now

    bench.start()
    lost = bench.tell(LearnerLost(why=""))
    assert pause() == 1
    bench.train(bench.answer(revive(bench, script, lost)))
    lost = bench.tell(LearnerLost(why=""))
    assert pause() == 2, "local steps alone are no success: what follows them may be what kills"
    effects = bench.answer(revive(bench, script, lost))
    bench.finish(bench.publish(effects))
    lost = bench.tell(LearnerLost(why=""))
    assert pause() == 1


def test_lost_while_training_the_round_begins_again(bench: Any, script: Any) -> None:
    first = script.only(bench.start(), Train)
    again = bench.answer(revive(bench, script, bench.tell(LearnerLost(why="killed"))))
    second = script.only(again, Train)
    assert (second.round, second.steps) == (first.round, first.steps)
    assert second.request != first.request


def test_lost_while_saving_nothing_is_published_that_is_not_stored(bench: Any, script: Any) -> None:
    store = script.only(bench.train(), Store)
    lost = bench.tell(LearnerLost(why="killed"))
    bench.tell(NotStored(generation=store.saved.generation, why="the disk is full"))

    again = bench.answer(revive(bench, script, lost))

    assert not script.every(again, Publish)
    assert script.only(again, Store).saved == store.saved
    assert script.only(bench.publish(again), Publish).frame == store.saved.frame


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_lost_while_gathering_choosing_or_merging_the_same_frame_is_published(
    bench: Any, script: Any, steps: int
) -> None:
    alice = script.Someone("alice")
    effects = bench.start()
    bench.receive(alice)
    effects = bench.publish(bench.answer(effects))
    frame = script.only(effects, Publish).frame
    for _ in range(steps):
        effects = bench.answer(effects)

    again = bench.answer(revive(bench, script, bench.tell(LearnerLost(why="killed"))))

    assert script.only(again, Publish).frame == frame
    assert script.records(bench.finish(again))[0].guard == "taken"


def test_a_merge_that_keeps_killing_the_learner_is_given_up(bench: Any, script: Any) -> None:
    alice = script.Someone("alice")
    effects = bench.start()
    bench.receive(alice)
    effects = bench.publish(bench.answer(effects))
    for _ in range(MERGE_TRIES):
        assert script.every(effects, Weigh)
        effects = bench.answer(revive(bench, script, bench.tell(LearnerLost(why="out of memory"))))

    assert script.only(effects, Merge).row == (1.0,)
    assert "ends alone" in script.notes(effects)[0]
    ended = bench.answer(effects)
    assert script.every(bench.publish(bench.answer(ended)), Weigh), "the next round tries again"


def test_resting_needs_no_learner(script: Any) -> None:
    bench = script.Bench(rounds={"rounds": 1})
    bench.finish(bench.publish())
    assert isinstance(bench.core.stage, Resting)
    assert bench.tell(LearnerLost(why="killed")) == []


def test_a_failure_that_the_user_can_mend_stops_the_peer(bench: Any, script: Any) -> None:
    request = script.only(bench.tell(Started()), Open).request
    effects = bench.tell(Failed(request=request, why="no such model", users_fault=True))
    assert effects == [Stop(code=2, why="no such model")]


def test_any_other_failure_is_tried_again(bench: Any, script: Any) -> None:
    request = script.only(bench.start(), Train).request
    lost = bench.tell(Failed(request=request, why="out of memory", users_fault=False))
    assert bench.core.stage == Opening(None)
    assert script.only(revive(bench, script, lost), Open)


# -- the disk ---------------------------------------------------------------------------------------


def test_a_full_disk_is_tried_again_and_complained_of_once(bench: Any, script: Any) -> None:
    generation = script.only(bench.train(), Store).saved.generation
    said = []
    for _ in range(5):
        refused = bench.tell(NotStored(generation=generation, why="the disk is full"))
        said += script.notes(refused)
        wake = script.only(refused, WakeAt)
        assert wake.timer == SavingAgain(generation=generation)
        assert (
            script.only(bench.tell(Woke(timer=wake.timer), after=5.0), Store).saved.generation == generation
        )

    assert len(said) == 1
    assert "round 0 is not saved: the disk is full" in said[0]
    assert script.every(bench.tell(Stored(generation=generation)), Publish)
    assert bench.tell(Woke(timer=SavingAgain(generation=generation))) == []


def test_what_was_learned_last_is_saved_when_the_disk_has_room_again(script: Any) -> None:
    """Nothing comes after the last round's merge that could save it along the way."""
    bench = script.Bench(rounds={"rounds": 1})
    ended = bench.finish(bench.publish())
    generation = script.only(ended, Store).saved.generation
    wake = script.only(bench.tell(NotStored(generation=generation, why="full")), WakeAt)

    again = bench.tell(Woke(timer=wake.timer), after=5.0)

    assert script.only(again, Store).saved.generation == generation


def test_a_state_that_a_later_one_replaced_is_not_saved_again(bench: Any, script: Any) -> None:
    ended = bench.finish(bench.publish())
    old = script.only(ended, Store).saved.generation
    bench.answer(ended)
    assert bench.tell(NotStored(generation=old, why="full")) == []
    assert bench.tell(Woke(timer=SavingAgain(generation=old))) == []


# -- after a crash ----------------------------------------------------------------------------------


def test_a_peer_that_crashed_after_saving_announces_the_same_again(bench: Any, script: Any) -> None:
    saved = script.only(bench.train(), Store).saved
    after = script.Bench(saved=saved)

    effects = after.start()

    assert script.only(effects, Store).saved == saved, "the list of published rounds may lack it"
    assert not script.every(effects, Publish)
    assert script.only(after.publish(effects), Publish).frame == saved.frame


def test_a_peer_that_crashed_in_the_next_round_trains_it_again(bench: Any, script: Any) -> None:
    saved = script.only(bench.finish(bench.publish()), Store).saved
    after = script.Bench(saved=saved)
    opening = after.tell(Started())
    assert script.only(opening, Open).snapshot == saved.snapshot
    effects = after.answer(opening)

    assert script.only(effects, Train).round == 1
    assert [one.round for one in script.records(effects) if isinstance(one, Begun)] == [1]


def test_another_base_than_the_saved_state_has_stops_the_peer(bench: Any, script: Any) -> None:
    saved = script.only(bench.train(), Store).saved
    other = msgspec.structs.replace(saved.fingerprints, base=bytes(32))
    after = script.Bench(saved=msgspec.structs.replace(saved, fingerprints=other))

    stop = script.only(after.start(), Stop)

    assert stop.code == 2
    assert stop.why.startswith("the base is not the one this home began with: saved 00000000, now ")


def test_an_adapter_too_large_to_announce_stops_the_peer_before_it_trains(bench: Any, script: Any) -> None:
    opened = bench.answer_to(bench.tell(Started()))
    unit = msgspec.structs.replace(opened.units[0], tensors=(("w", (2**15, 2**15)),))

    stop = script.only(bench.tell(msgspec.structs.replace(opened, units=(unit,))), Stop)

    assert stop.code == 2
    assert "takes 4294967300 bytes, and others refuse more than 2147483647" in stop.why


def test_fewer_rounds_than_were_done_already_means_rest(bench: Any, script: Any) -> None:
    effects = bench.start()
    for _ in range(3):
        effects = bench.finish(bench.publish(bench.answer(effects)))
    saved = script.only(effects, Store).saved
    after = script.Bench(saved=saved, rounds={"rounds": 2})

    effects = after.start()

    assert isinstance(after.core.stage, Resting)
    assert not script.every(effects, Train)
    assert "all 2 rounds are done" in script.notes(effects)[0]


def test_fewer_rounds_still_end_the_round_that_was_announced(bench: Any, script: Any) -> None:
    effects = bench.finish(bench.publish())
    saved = script.only(bench.train(effects), Store).saved
    after = script.Bench(saved=saved, rounds={"rounds": 1})
    after.finish(after.publish(after.start()))
    assert isinstance(after.core.stage, Resting)


def test_all_rounds_done_a_peer_rests_and_answers(script: Any) -> None:
    bench = script.Bench(rounds={"rounds": 1})
    ended = bench.finish(bench.publish())
    alice = script.Someone("alice")

    assert not script.every(ended, Train)
    assert isinstance(bench.core.stage, Resting)
    heard = bench.tell(Heard(frame=alice.announce(0), via=alice.id))
    assert not script.every(heard, Weigh)


def test_a_late_deadline_is_nothing(bench: Any, script: Any) -> None:
    bench.finish(bench.publish())
    assert bench.tell(Woke(timer=Deadline(round=0))) == []
    assert bench.tell(Woke(timer=Reopening())) == []


def test_opened_again_it_greets_nobody_twice(bench: Any, script: Any) -> None:
    bench.start()
    bench.meet(script.Someone("alice"))
    again = bench.answer(revive(bench, script, bench.tell(LearnerLost(why=""))))
    assert not script.every(again, Greet)
