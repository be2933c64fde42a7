"""What the disk says, and what it gives back after a crash."""

from __future__ import annotations

from gossipllm.work import Open, Train
from peers.core.effects import Publish, Stop, Store, WakeAt
from peers.core.events import NotStored, SavingAgain, Started, Stored, Woke
from support.core_bench import Bench
from support.effects import every, notes, only, records
from trust.record.history import Begun

# -- the disk ---------------------------------------------------------------------------------------


def test_a_full_disk_is_tried_again_and_complained_of_once(bench: Bench) -> None:
    generation = only(bench.train(), Store).saved.generation
    said: list[str] = []
    for _ in range(5):
        refused = bench.tell(NotStored(generation=generation, why="the disk is full"))
        said += notes(refused)
        wake = only(refused, WakeAt)
        assert wake.timer == SavingAgain(generation=generation)
        assert only(bench.tell(Woke(timer=wake.timer), after=5.0), Store).saved.generation == generation

    assert len(said) == 1
    assert "round 0 is not saved: the disk is full" in said[0]
    assert every(bench.tell(Stored(generation=generation)), Publish)
    assert bench.tell(Woke(timer=SavingAgain(generation=generation))) == []


def test_a_broken_disk_ends_the_peer_at_once_with_the_reason(bench: Bench) -> None:
    generation = only(bench.train(), Store).saved.generation

    effects = bench.tell(
        NotStored(generation=generation, why="Read-only file system, at /home", passes=False)
    )

    assert only(effects, Stop) == Stop(
        code=2, why="the state cannot be saved: Read-only file system, at /home"
    )
    assert not every(effects, WakeAt)


def test_what_was_learned_last_is_saved_when_the_disk_has_room_again() -> None:
    """Nothing comes after the last round's merge that could save it along the way."""
    bench = Bench(rounds={"rounds": 1})
    ended = bench.finish(bench.publish())
    generation = only(ended, Store).saved.generation
    wake = only(bench.tell(NotStored(generation=generation, why="full")), WakeAt)

    again = bench.tell(Woke(timer=wake.timer), after=5.0)

    assert only(again, Store).saved.generation == generation


def test_a_state_that_a_later_one_replaced_is_not_saved_again(bench: Bench) -> None:
    ended = bench.finish(bench.publish())
    old = only(ended, Store).saved.generation
    bench.answer(ended)
    assert bench.tell(NotStored(generation=old, why="full")) == []
    assert bench.tell(Woke(timer=SavingAgain(generation=old))) == []


# -- after a crash ----------------------------------------------------------------------------------


def test_a_peer_that_crashed_after_saving_announces_the_same_again(bench: Bench) -> None:
    saved = only(bench.train(), Store).saved
    after = Bench(saved=saved)

    effects = after.start()

    assert only(effects, Store).saved == saved, "the list of published rounds may lack it"
    assert not every(effects, Publish)
    assert only(after.publish(effects), Publish).frame == saved.frame


def test_a_peer_that_crashed_in_the_next_round_trains_it_again(bench: Bench) -> None:
    saved = only(bench.finish(bench.publish()), Store).saved
    after = Bench(saved=saved)
    opening = after.tell(Started())
    assert only(opening, Open).snapshot == saved.snapshot
    effects = after.answer(opening)

    assert only(effects, Train).round == 1
    assert [one.round for one in records(effects) if isinstance(one, Begun)] == [1]
