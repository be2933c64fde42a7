"""The learner dies, or is not the one that it was: when it is opened again, and where the round goes on."""

from __future__ import annotations

import math

import msgspec
import pytest

from gossipllm.work import Failed, Merge, Open, Opened, Train, Weigh
from peers.core.effects import Effect, Greet, Publish, Stop, Store, WakeAt
from peers.core.events import LearnerLost, NotStored, Reopening, Started, Woke
from peers.core.round.learner_supervision import MAX_DEATHS, MERGE_TRIES
from peers.core.round.stages import Opening, Resting
from support.core_bench import Bench, RemotePeer
from support.effects import every, notes, only, round_record


def revive(bench: Bench, lost: list[Effect]) -> list[Effect]:
    wake = only(lost, WakeAt)
    return bench.tell(Woke(timer=wake.timer), after=wake.at - bench.now)


# -- at the beginning -------------------------------------------------------------------------------


def test_another_base_than_the_saved_state_has_stops_the_peer(bench: Bench) -> None:
    saved = only(bench.train(), Store).saved
    other = msgspec.structs.replace(saved.fingerprints, base=bytes(32))
    after = Bench(saved=msgspec.structs.replace(saved, fingerprints=other))

    stop = only(after.start(), Stop)

    assert stop.code == 2
    assert stop.why.startswith("the base is not the one this home began with: saved 00000000, now ")


def test_an_adapter_too_large_to_announce_stops_the_peer_before_it_trains(bench: Bench) -> None:
    opened = bench.answer_to(bench.tell(Started()))
    assert isinstance(opened, Opened)
    unit = msgspec.structs.replace(opened.units[0], tensors=(("w", (2**15, 2**15)),))

    stop = only(bench.tell(msgspec.structs.replace(opened, units=(unit,))), Stop)

    assert stop.code == 2
    assert "takes 4294967300 bytes, and others refuse more than 2147483647" in stop.why


# -- the learner dies -------------------------------------------------------------------------------


def test_killed_while_opening_it_is_opened_again_after_longer_and_longer_pauses_but_not_for_ever(
    bench: Bench,
) -> None:
    bench.tell(Started())
    pauses: list[float] = []
    for _ in range(MAX_DEATHS - 1):
        lost = bench.tell(LearnerLost(why="killed by SIGKILL"))
        pauses.append(only(lost, WakeAt).at - bench.now)
        assert only(revive(bench, lost), Open)

    assert pauses[:7] == [1, 2, 4, 8, 16, 30, 30]
    assert set(pauses[7:]) == {30}
    why = (
        f"the learner stopped {MAX_DEATHS} times without finishing a round, the last time: killed by SIGKILL"
    )
    assert bench.tell(LearnerLost(why="killed by SIGKILL")) == [Stop(code=1, why=why)]


def test_a_crash_at_the_first_opening_is_final(bench: Bench) -> None:
    bench.tell(Started())

    effects = bench.tell(LearnerLost(why="KeyError: 'q_proj', see learner.log", crash=True))

    assert effects == [Stop(code=2, why="the learner cannot go on: KeyError: 'q_proj', see learner.log")]


def test_a_crash_after_a_kill_at_the_first_opening_is_final_too(bench: Bench) -> None:
    bench.tell(Started())
    revive(bench, bench.tell(LearnerLost(why="killed by SIGKILL")))

    assert only(bench.tell(LearnerLost(why="KeyError", crash=True)), Stop).code == 2


def test_a_crash_twice_at_the_same_step_of_a_round_is_final(bench: Bench) -> None:
    bench.start()
    again = bench.answer(revive(bench, bench.tell(LearnerLost(why="IndexError", crash=True))))
    assert only(again, Train)

    assert only(bench.tell(LearnerLost(why="IndexError", crash=True)), Stop).code == 2


def test_a_crash_twice_at_opening_again_is_final(bench: Bench) -> None:
    bench.start()
    revive(bench, bench.tell(LearnerLost(why="killed by SIGKILL")))
    revive(bench, bench.tell(LearnerLost(why="IndexError", crash=True)))

    assert only(bench.tell(LearnerLost(why="IndexError", crash=True)), Stop).code == 2


def test_crashes_at_different_steps_and_a_crash_between_kills_are_each_tried_again(bench: Bench) -> None:
    bench.start()
    for crash in (True, False, True, False):
        lost = bench.tell(LearnerLost(why="x", crash=crash))
        assert not every(lost, Stop)
        assert only(bench.answer(revive(bench, lost)), Train)
    bench.train(bench.answer(revive(bench, bench.tell(LearnerLost(why="killed")))))

    assert only(bench.tell(LearnerLost(why="x", crash=True)), WakeAt), "the merge is another step"


def test_no_neighbour_stops_this_peer_by_an_update_that_crashes_it(bench: Bench) -> None:
    alice = RemotePeer("alice")
    effects = bench.start()
    bench.receive(alice)
    effects = bench.publish(bench.answer(effects))
    for _ in range(MERGE_TRIES):
        assert every(effects, Weigh)
        effects = bench.answer(revive(bench, bench.tell(LearnerLost(why="IndexError", crash=True))))

    assert only(effects, Merge).row == (1.0,)
    assert round_record(bench.finish(effects)).guard == "alone"


def test_a_round_that_crashes_although_it_ends_alone_is_final(bench: Bench) -> None:
    bench.publish()
    for _ in range(MERGE_TRIES + 1):
        bench.answer(revive(bench, bench.tell(LearnerLost(why="IndexError", crash=True))))

    assert only(bench.tell(LearnerLost(why="IndexError", crash=True)), Stop).code == 2


def test_pauses_begin_anew_only_after_a_whole_round(bench: Bench) -> None:
    def pause() -> float:
        return only(lost, WakeAt).at - bench.now

    bench.start()
    lost = bench.tell(LearnerLost(why=""))
    assert pause() == 1
    bench.train(bench.answer(revive(bench, lost)))
    lost = bench.tell(LearnerLost(why=""))
    assert pause() == 2, "local steps alone are no success: what follows them may be what kills"
    effects = bench.answer(revive(bench, lost))
    bench.finish(bench.publish(effects))
    lost = bench.tell(LearnerLost(why=""))
    assert pause() == 1


def test_lost_while_training_the_round_begins_again(bench: Bench) -> None:
    first = only(bench.start(), Train)
    again = bench.answer(revive(bench, bench.tell(LearnerLost(why="killed"))))
    second = only(again, Train)
    assert (second.round, second.steps) == (first.round, first.steps)
    assert second.request != first.request


def test_lost_while_saving_nothing_is_published_that_is_not_stored(bench: Bench) -> None:
    store = only(bench.train(), Store)
    lost = bench.tell(LearnerLost(why="killed"))
    bench.tell(NotStored(generation=store.saved.generation, why="the disk is full"))

    again = bench.answer(revive(bench, lost))

    assert not every(again, Publish)
    assert only(again, Store).saved == store.saved
    assert only(bench.publish(again), Publish).frame == store.saved.frame


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_lost_while_gathering_choosing_or_merging_the_same_frame_is_published(
    bench: Bench, steps: int
) -> None:
    alice = RemotePeer("alice")
    effects = bench.start()
    bench.receive(alice)
    effects = bench.publish(bench.answer(effects))
    frame = only(effects, Publish).frame
    for _ in range(steps):
        effects = bench.answer(effects)

    again = bench.answer(revive(bench, bench.tell(LearnerLost(why="killed"))))

    assert only(again, Publish).frame == frame
    assert round_record(bench.finish(again)).guard == "taken"


def test_a_merge_that_keeps_killing_the_learner_is_given_up(bench: Bench) -> None:
    alice = RemotePeer("alice")
    effects = bench.start()
    bench.receive(alice)
    effects = bench.publish(bench.answer(effects))
    for _ in range(MERGE_TRIES):
        assert every(effects, Weigh)
        effects = bench.answer(revive(bench, bench.tell(LearnerLost(why="out of memory"))))

    assert only(effects, Merge).row == (1.0,)
    assert "ends alone" in notes(effects)[0]
    ended = bench.answer(effects)
    assert every(bench.publish(bench.answer(ended)), Weigh), "the next round tries again"


def test_resting_needs_no_learner() -> None:
    bench = Bench(rounds={"rounds": 1})
    bench.finish(bench.publish())
    assert isinstance(bench.core.stage, Resting)
    assert bench.tell(LearnerLost(why="killed")) == []


def test_a_failure_that_the_user_can_mend_stops_the_peer(bench: Bench) -> None:
    request = only(bench.tell(Started()), Open).request
    effects = bench.tell(Failed(request=request, why="no such model", users_fault=True))
    assert effects == [Stop(code=2, why="no such model")]


def test_any_other_failure_is_tried_again(bench: Bench) -> None:
    request = only(bench.start(), Train).request
    lost = bench.tell(Failed(request=request, why="out of memory", users_fault=False))
    assert bench.core.stage == Opening(None)
    assert only(revive(bench, lost), Open)


def test_opened_again_it_greets_nobody_twice(bench: Bench) -> None:
    bench.start()
    bench.meet(RemotePeer("alice"))
    again = bench.answer(revive(bench, bench.tell(LearnerLost(why=""))))
    assert not every(again, Greet)


def test_a_merge_that_gives_no_number_is_undone(bench: Bench) -> None:
    alice = RemotePeer("alice")
    effects = bench.start()
    bench.receive(alice)
    merging = bench.answer(bench.answer(bench.publish(bench.answer(effects))))
    broken = msgspec.structs.replace(bench.answer_to(merging), trust_loss=math.nan)

    lost = bench.tell(broken)

    assert not every(lost, Store)
    assert "the merge has a loss of nan" in notes(lost)[0]
    again = bench.answer(bench.tell(Woke(timer=Reopening()), after=1.0))
    assert only(again, Publish)
    assert only(again, Merge).row == (1.0,), "this round ends alone"
