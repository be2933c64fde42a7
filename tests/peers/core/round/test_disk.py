"""What the disk says, and what it gives back after a crash."""

from __future__ import annotations

from typing import Any

from gossipllm.work import Open, Train
from peers.core.effects import Publish, Store, WakeAt
from peers.core.events import NotStored, SavingAgain, Started, Stored, Woke
from trust.record.history import Begun

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
