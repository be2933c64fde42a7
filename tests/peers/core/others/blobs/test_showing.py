"""Predictions are committed to before they are shown: to whom, when, and in which round an answer to them counts."""

from __future__ import annotations

import itertools

import numpy as np

from gossipllm.work import Train, Weigh
from peers.core.config import NO_DEFENCE
from peers.core.effects import Effect, Publish, Pull, Store
from peers.core.events import (
    Comparing,
    Heard,
    LearnerLost,
    NotPulled,
    Pulled,
    Reopening,
    Showed,
    Stored,
    Woke,
)
from peers.core.round.stages import Training
from sim.toy.units import ROWS
from support.core_bench import Bench, RemotePeer, update_of
from support.effects import every, only, refusals, requests, round_record
from support.running_core import neighbourhood
from wire.codec import decode_announcement
from wire.digest import Content
from wire.predictions.logits import SparseRows, encode_rows

_numbers = itertools.count(1)


def predictions() -> Content:
    """Predictions that none of the last hundred announcements had."""
    tail = 0.5 + next(_numbers) % 128 / 256
    rows = SparseRows(
        np.zeros((1, 1), np.uint32),
        np.log(np.full((1, 1), 1 - tail, np.float32)),
        np.full(1, tail, np.float32),
    )
    return Content.of(encode_rows(rows, ROWS))


def own_evidence(bench: Bench) -> bytes:
    """Digest of the predictions that this peer announced last."""
    (digest,) = neighbourhood(bench.core).fetching.showing._own
    return digest


def shows(bench: Bench, other: RemotePeer, digest: bytes | None = None) -> bool:
    """Ask for predictions as the network does, and tell the core what was given."""
    wanted = own_evidence(bench) if digest is None else digest
    data = bench.core.blob(wanted, other.id)
    if data is None:
        assert bench.core.withholds(wanted, other.id)
        return False
    assert not bench.core.withholds(wanted, other.id)
    bench.tell(Showed(digest=wanted, peer=other.id))
    return True


def hear(bench: Bench, other: RemotePeer, round_: int) -> list[Effect]:
    """A remote peer announces an update and predictions that are its own and of this round."""
    other.evidence = predictions()
    other.update = update_of([1.0, 0.5, next(_numbers) / 256, round_ / 100])
    return bench.tell(Heard(frame=other.announce(round_, inline=False), via=other.id))


def bring(bench: Bench, effects: list[Effect], *others: RemotePeer) -> list[Effect]:
    """Answer the fetches among the effects, and those that follow, with what these remote peers announced."""
    blobs = {one.digest: one for other in others for one in (other.update, other.evidence)}
    told = list(effects)
    for effect in told:
        if isinstance(effect, Pull) and effect.digest in blobs:
            told += bench.tell(Pulled(request=effect.request, content=blobs[effect.digest]))
    return told


def begun(*others: RemotePeer) -> Bench:
    """A bench that trains its first round, and is connected with these peers."""
    bench = Bench()
    bench.start()
    bench.meet(*others)
    return bench


def publish(bench: Bench) -> list[Effect]:
    """Through the local steps that the core waits for, up to the announcement."""
    stage = bench.core.stage
    assert isinstance(stage, Training)
    return bench.publish(bench.answer([Train(request=stage.request, round=bench.core.round, steps=1)]))


def asked_about(effects: list[Effect]) -> list[Weigh]:
    return [one for one in requests(effects) if isinstance(one, Weigh)]


def next_round(bench: Bench, effects: list[Effect]) -> list[Effect]:
    """End this round, whose announcement had these effects, and announce the next."""
    bench.finish([*effects, *bench.lose_patience(effects)])
    return publish(bench)


# -- to whom ----------------------------------------------------------------------------------------


def test_an_announcement_holds_no_predictions_of_its_author(bench: Bench) -> None:
    frame = only(bench.publish(), Publish).frame
    assert not decode_announcement(frame).payload


def test_without_commitments_predictions_ride_along_and_are_shown_to_anybody(alice: RemotePeer) -> None:
    bench = Bench(defence=NO_DEFENCE)
    frame = only(bench.publish(), Publish).frame
    assert decode_announcement(frame).payload
    assert bench.core.blob(decode_announcement(frame).announcement.evidence.digest, alice.id) is not None


def test_a_stranger_is_shown_no_predictions_but_the_update(bench: Bench, alice: RemotePeer) -> None:
    update = decode_announcement(only(bench.publish(), Publish).frame).announcement.update
    assert not shows(bench, alice)
    assert bench.core.blob(update.digest, alice.id) is not None


def test_nothing_is_shown_before_it_is_published(bench: Bench, alice: RemotePeer) -> None:
    saving = bench.train()
    hear(bench, alice, 0)
    state = only(saving, Store).saved
    assert state.evidence is not None
    assert bench.core.blob(state.evidence.digest, alice.id) is None
    assert not bench.core.withholds(state.evidence.digest, alice.id), "it is not here yet"
    bench.tell(Stored(generation=state.generation))
    assert bench.core.blob(state.evidence.digest, alice.id) is not None


def test_a_commitment_is_too_old_after_as_many_rounds_as_an_announcement_counts(alice: RemotePeer) -> None:
    bench = begun(alice)
    hear(bench, alice, 0)
    effects = publish(bench)
    for _ in range(bench.config.trust.max_age):
        effects = next_round(bench, effects)
    assert neighbourhood(bench.core).fetching.showing.allows(own_evidence(bench), alice.id)
    next_round(bench, effects)
    assert not shows(bench, alice)


def test_one_commitment_buys_one_look_and_the_next_one_the_next(alice: RemotePeer) -> None:
    bench = begun(alice)
    hear(bench, alice, 0)
    effects = publish(bench)
    assert shows(bench, alice)
    assert shows(bench, alice), "what was shown may be read again"
    next_round(bench, effects)
    assert not shows(bench, alice), "alice has not answered yet"
    hear(bench, alice, 1)
    assert shows(bench, alice)


def test_a_neighbours_predictions_are_passed_on_to_those_that_announced_after_it(
    alice: RemotePeer, bob: RemotePeer
) -> None:
    bench, carol = begun(alice, bob), RemotePeer("carol")
    bring(bench, hear(bench, bob, 0), bob)
    bring(bench, hear(bench, alice, 0), alice)
    bring(bench, publish(bench), alice, bob)
    shown = alice.evidence.digest
    assert not shows(bench, carol, shown)
    assert not shows(bench, bob, shown), "bob's announcement is older than alice's"
    assert shows(bench, alice, shown)
    hear(bench, bob, 1)
    assert shows(bench, bob, shown)


# -- when an answer counts --------------------------------------------------------------------------


def test_a_commitment_that_came_for_this_round_buys_the_look_of_this_round(alice: RemotePeer) -> None:
    """Alice announced before this peer did, was shown its predictions of the round before, and waits for the new."""
    bench = begun(alice)
    hear(bench, alice, 0)
    effects = publish(bench)
    bench.finish([*effects, *bench.lose_patience(effects)])
    hear(bench, alice, 1)
    assert shows(bench, alice)
    publish(bench)
    assert shows(bench, alice)


def test_an_announcement_made_after_a_look_is_weighed_in_the_next_round(alice: RemotePeer) -> None:
    bench = begun(alice)
    bring(bench, hear(bench, alice, 0), alice)
    effects = bring(bench, publish(bench), alice)
    first = alice.update
    assert shows(bench, alice)
    effects += bring(bench, hear(bench, alice, 1), alice)
    assert [one.update for one in asked_about(effects)] == [first]
    told = bench.finish(effects)
    assert [(one.peer, one.its_round) for one in round_record(told).seen] == [(alice.id, 0)]

    effects = bring(bench, publish(bench), alice)
    assert [one.update for one in asked_about(effects)] == [alice.update]


def test_a_second_announcement_after_the_reveal_is_weighed_in_the_next_round(
    alice: RemotePeer, bob: RemotePeer
) -> None:
    """Whom this peer has not shown anything may have been shown its predictions by a neighbour that holds them."""
    bench = begun(alice, bob)
    publish(bench)
    bring(bench, hear(bench, alice, 0), alice)
    first = alice.update
    told = bring(bench, hear(bench, alice, 1), alice)
    assert not asked_about(told)
    assert [one.update for one in neighbourhood(bench.core).inbox.complete()] == [first]


def test_a_late_answer_is_not_waited_for(alice: RemotePeer) -> None:
    bench = begun(alice)
    hear(bench, alice, 0)
    publish(bench)
    assert neighbourhood(bench.core).awaiting.is_awaited(alice.id)
    assert shows(bench, alice)
    hear(bench, alice, 1)
    assert not neighbourhood(bench.core).awaiting.is_awaited(alice.id)


def test_an_answer_after_the_round_has_gathered_belongs_to_the_next_as_before(alice: RemotePeer) -> None:
    bench = begun(alice)
    told = bench.lose_patience(publish(bench))
    bring(bench, hear(bench, alice, 0), alice)
    bench.finish(told)
    effects = bring(bench, publish(bench), alice)
    assert [one.author for one in asked_about(effects)] == [alice.id]


def test_the_same_round_published_again_after_the_learner_died_keeps_its_looks(alice: RemotePeer) -> None:
    bench = begun(alice)
    hear(bench, alice, 0)
    publish(bench)
    shows(bench, alice)
    bench.tell(LearnerLost(why="killed"))
    again = bench.answer(bench.tell(Woke(timer=Reopening()), after=60.0))
    assert every(again, Publish)
    assert neighbourhood(bench.core).fetching.showing.too_late(alice.id)


# -- asking -----------------------------------------------------------------------------------------


def test_predictions_are_asked_for_after_ones_own_announcement(alice: RemotePeer) -> None:
    bench = begun(alice)
    while_training = hear(bench, alice, 0)
    assert only(while_training, Pull).digest == alice.update.digest
    bring(bench, while_training, alice)
    then = publish(bench)
    assert only(then, Pull).digest == alice.evidence.digest
    assert [type(one) for one in then if isinstance(one, Publish | Pull)] == [Publish, Pull]


def test_predictions_announced_after_ones_own_are_asked_only_of_their_author(
    alice: RemotePeer, bob: RemotePeer
) -> None:
    bench, carol = begun(alice, bob), RemotePeer("carol")
    bring(bench, hear(bench, alice, 0), alice)
    assert set(only(publish(bench), Pull).sources) == {alice.id, bob.id}
    late = [one for one in every(hear(bench, bob, 0), Pull) if one.digest == bob.evidence.digest]
    assert only(late, Pull).sources == (bob.id,)
    far = hear(bench, carol, 0)
    assert only(far, Pull).digest == carol.update.digest, "its author is out of reach"


def test_a_fetch_that_was_put_off_is_no_failure_and_is_tried_at_the_next_occasion(
    alice: RemotePeer, bob: RemotePeer
) -> None:
    bench = begun(alice, bob)
    bring(bench, hear(bench, alice, 0), alice)
    pull = only(publish(bench), Pull)
    told = bench.tell(NotPulled(request=pull.request, why="busy", later=True))
    assert not refusals(told)
    assert not every(told, Pull)
    entry = neighbourhood(bench.core).inbox.newest_of(alice.id)
    assert entry is not None
    assert entry.failures == 0
    assert not neighbourhood(bench.core).awaiting.is_awaited(alice.id)
    bring(bench, hear(bench, bob, 0), bob)
    again = bench.tell(Woke(timer=Comparing()), after=30.0)
    assert only(again, Pull).digest == alice.evidence.digest


def test_an_author_that_puts_off_for_ever_is_waited_for_twice_at_most(alice: RemotePeer) -> None:
    bench = begun(alice)
    awaited: list[bool] = []
    for round_ in range(4):
        bring(bench, hear(bench, alice, round_), alice)
        effects = publish(bench)
        awaited.append(neighbourhood(bench.core).awaiting.is_awaited(alice.id))
        for pull in every(effects, Pull):
            effects += bench.tell(NotPulled(request=pull.request, why="busy", later=True))
        bench.finish(effects)
    assert awaited == [True, True, False, False]


# -- older peers ------------------------------------------------------------------------------------


def test_predictions_that_an_older_peer_carries_in_its_announcement_are_read(alice: RemotePeer) -> None:
    bench = begun(alice)
    told = bench.receive(alice)
    assert only(told, Pull).digest == alice.update.digest
    assert [one.author for one in asked_about(publish(bench))] == [alice.id]
