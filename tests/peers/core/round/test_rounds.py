"""A round, step by step: what is asked for in which order, and what comes of bad answers."""

from __future__ import annotations

import math

import pytest

from gossipllm.work import Declined, Evaluate, Evaluated, Failed, Merge, Train, Weigh, Weighed
from peers.core.effects import Publish, Store
from peers.core.events import Deadline, Heard, LearnerAnswer, Reopening, Stored, Woke
from peers.core.round.stages import Resting, Saving, Training
from support.core_bench import Bench, RemotePeer, update_of
from support.effects import every, notes, only, refusal_record, round_record
from trust.rows.rows import TrustConfig
from wire.codec import decode_announcement


def weighed(weigh: Weigh, mean: float, error: float) -> Weighed:
    """An answer with one distance and its error."""
    return Weighed(request=weigh.request, author=weigh.author, distances=(mean,), errors=(error,), own=(0.0,))


# -- the plain round --------------------------------------------------------------------------------


def test_a_peer_alone_trains_and_does_not_wait(bench: Bench) -> None:
    effects = bench.publish()

    merge = only(effects, Merge)
    assert (merge.row, merge.updates) == ((1.0,), ())
    ended = bench.answer(effects)
    record = round_record(ended)
    assert (record.self_weight, record.guard, record.gather_s) == (1.0, "alone", 0.0)
    assert only(ended, Train).round == 1


def test_nothing_is_published_before_it_is_stored(bench: Bench) -> None:
    saving = bench.train()

    store = only(saving, Store)
    assert not every(saving, Publish)
    assert store.saved.stage == "published"
    published = only(bench.publish(saving), Publish)
    assert published.frame == store.saved.frame


def test_the_answer_to_another_store_publishes_nothing(bench: Bench) -> None:
    generation = only(bench.train(), Store).saved.generation
    assert not bench.tell(Stored(generation=generation - 1))
    assert not bench.tell(Stored(generation=generation + 1))
    assert isinstance(bench.core.stage, Saving)


def test_the_announcement_is_of_the_saved_state(bench: Bench) -> None:
    saved = only(bench.train(), Store).saved
    announcement = decode_announcement(saved.frame).announcement
    assert saved.update is not None
    assert saved.evidence is not None
    assert announcement.update.digest == saved.update.digest
    assert announcement.evidence.digest == saved.evidence.digest
    assert announcement.round == saved.round == 0
    assert saved.snapshot == saved.update, "the toy's snapshot is its update"


def test_what_is_served_is_what_was_published(bench: Bench) -> None:
    """Also while the next announcement waits for the disk: nobody knows of that one yet."""
    first = bench.publish()
    shown = only(first, Publish).frame
    ended = bench.answer(first)
    bench.answer(ended)

    assert isinstance(bench.core.stage, Saving)
    assert bench.core.blob(decode_announcement(shown).announcement.update.digest, "someone") is not None


def test_each_announcement_names_the_one_before(bench: Bench) -> None:
    first = bench.publish()
    second = bench.publish(bench.answer(bench.finish(first)))
    one, two = (decode_announcement(only(effects, Publish).frame) for effects in (first, second))
    assert (one.announcement.round, two.announcement.round) == (0, 1)
    assert two.announcement.previous == one.digest


def test_a_neighbour_is_weighed_measured_and_merged(bench: Bench) -> None:
    alice = RemotePeer("alice")
    effects = bench.start()
    bench.meet(alice)
    bench.receive(alice)
    weighing = bench.publish(bench.answer(effects))
    assert only(weighing, Weigh).author == alice.id
    evaluating = bench.answer(weighing)
    assert only(evaluating, Evaluate).rows[-1] == (1.0, 0.0), "keeping everything is always measured"
    merging = bench.answer(evaluating)
    assert only(merging, Merge).updates == (alice.update,)
    ended = bench.answer(merging)

    record = round_record(ended)
    assert record.guard == "taken"
    assert [seen.name for seen in record.seen] == ["alice"]
    assert record.trust_merged < record.trust_alone
    assert math.isclose(record.self_weight + record.seen[0].weight, 1.0)
    assert only(ended, Store).saved.round == 1
    assert isinstance(bench.core.stage, Training)


def test_a_harmful_neighbour_is_refused(bench: Bench) -> None:
    alice = RemotePeer("alice", update=update_of([-5.0, 0.0, 0.0, 0.0]))
    effects = bench.start()
    bench.receive(alice)
    ended = bench.finish(bench.publish(bench.answer(effects)))

    record = round_record(ended)
    assert record.guard == "refused"
    assert record.self_weight == 1.0
    assert record.seen[0].weight == 0.0


# -- bad answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("distance", "error"), [(math.nan, 0.0), (math.inf, 0.0), (-1.0, 0.0), (1.0, math.nan), (1e101, 0.0)]
)
def test_a_distance_that_is_none_is_declined_without_a_fine(
    bench: Bench, distance: float, error: float
) -> None:
    alice = RemotePeer("alice")
    effects = bench.start()
    bench.receive(alice)
    weigh = only(bench.publish(bench.answer(effects)), Weigh)

    effects = bench.tell(weighed(weigh, distance, error))

    assert only(effects, Merge).row == (1.0,)
    assert refusal_record(effects).field == "distance"
    assert bench.core.welcome(alice.id, bench.now)


def test_a_distance_below_zero_is_one_where_losses_are_compared() -> None:
    bench = Bench(trust=TrustConfig(strategy="validation"))
    alice = RemotePeer("alice")
    effects = bench.start()
    bench.receive(alice)
    weigh = only(bench.publish(bench.answer(effects)), Weigh)
    effects = bench.tell(weighed(weigh, -1.0, 0.1))
    assert every(effects, Evaluate)


def test_declined_content_costs_its_author(bench: Bench) -> None:
    alice = RemotePeer("alice")
    effects = bench.start()
    bench.receive(alice)
    weigh = only(bench.publish(bench.answer(effects)), Weigh)

    effects = bench.tell(Declined(request=weigh.request, author=alice.id, field="update", why="no"))

    assert only(effects, Merge).row == (1.0,)
    assert not bench.core.welcome(alice.id, bench.now)


def test_one_who_is_banned_while_we_gather_is_not_merged(bench: Bench) -> None:
    alice, bob = RemotePeer("alice"), RemotePeer("bob")
    effects = bench.start()
    bench.meet(alice, bob)
    bench.publish(bench.answer(effects))
    bench.answer(bench.receive(alice, 3))
    bench.tell(Heard(frame=alice.announce(3, tokens=2), via=bob.id))
    ended = bench.finish(bench.receive(bob, 3))

    assert [seen.name for seen in round_record(ended).seen] == ["bob"]


def test_losses_that_are_no_numbers_leave_the_peer_as_it_is(bench: Bench) -> None:
    alice = RemotePeer("alice")
    effects = bench.start()
    bench.receive(alice)
    effects = bench.answer(bench.publish(bench.answer(effects)))
    while not every(effects, Merge):
        evaluate = only(effects, Evaluate)
        losses = (*[math.nan] * (len(evaluate.rows) - 1), 1.0)
        gains = tuple(1.0 - loss for loss in losses)
        answer = Evaluated(
            request=evaluate.request, losses=losses, proposed=losses, gains=gains, errors=losses
        )
        effects = bench.tell(answer)
    assert only(effects, Merge).row == (1.0,)


def test_late_and_repeated_answers_change_nothing(bench: Bench) -> None:
    alice = RemotePeer("alice")
    effects = bench.start()
    bench.receive(alice)
    heard: list[LearnerAnswer] = []
    while not every(effects, Merge):
        if every(effects, Store):
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


# -- after the last round ---------------------------------------------------------------------------


def test_fewer_rounds_than_were_done_already_means_rest(bench: Bench) -> None:
    effects = bench.start()
    for _ in range(3):
        effects = bench.finish(bench.publish(bench.answer(effects)))
    saved = only(effects, Store).saved
    after = Bench(saved=saved, rounds={"rounds": 2})

    effects = after.start()

    assert isinstance(after.core.stage, Resting)
    assert not every(effects, Train)
    assert "all 2 rounds are done" in notes(effects)[0]


def test_fewer_rounds_still_end_the_round_that_was_announced(bench: Bench) -> None:
    effects = bench.finish(bench.publish())
    saved = only(bench.train(effects), Store).saved
    after = Bench(saved=saved, rounds={"rounds": 1})
    after.finish(after.publish(after.start()))
    assert isinstance(after.core.stage, Resting)


def test_all_rounds_done_a_peer_rests_and_answers() -> None:
    bench = Bench(rounds={"rounds": 1})
    ended = bench.finish(bench.publish())
    alice = RemotePeer("alice")

    assert not every(ended, Train)
    assert isinstance(bench.core.stage, Resting)
    heard = bench.tell(Heard(frame=alice.announce(0), via=alice.id))
    assert not every(heard, Weigh)


def test_a_late_deadline_is_nothing(bench: Bench) -> None:
    bench.finish(bench.publish())
    assert bench.tell(Woke(timer=Deadline(round=0))) == []
    assert bench.tell(Woke(timer=Reopening())) == []
