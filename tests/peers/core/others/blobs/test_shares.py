"""A round in which mass is pushed along edges: whom to, what is fetched, and what is taken in."""

from __future__ import annotations

import msgspec
import pytest

from gossipllm.config import LearnerConfig
from gossipllm.work import Absorb, Merged, PushedShare, Train
from peers.core.effects import Effect, Keep, Publish, Pull, Store, WakeAt
from peers.core.events import Connected, Heard, LearnerLost, Pulled, Woke
from peers.core.others.admission import Keys
from peers.core.round.learner_supervision import MERGE_TRIES
from peers.core.round.stages import Gathering
from sim.toy.mass import ToyMass
from support.core_bench import Bench, RemotePeer
from support.effects import every, only, records, round_record
from trust.record.history import Refusal
from wire.codec import decode_announcement
from wire.digest import Content
from wire.messages import MAX_SHARES, BlobRef, ShareRef


@pytest.fixture
def bench() -> Bench:
    return Bench(learner=LearnerConfig(mixing="push-sum"))


class Pusher:
    """Somebody who pushes to whomever it is told to."""

    def __init__(self, name: str, values: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0)) -> None:
        self.someone = RemotePeer(name)
        self.mass = ToyMass.begin(values, 1.0)

    @property
    def id(self) -> str:
        return self.someone.id

    def announce(self, round_: int, *receivers: Keys) -> tuple[Heard, Content]:
        """What is heard, and what the first receiver fetches."""
        told = self.mass.push([one.peer_id for one in receivers])
        contents = [Content.of(one) for one in told.values()]
        shares = tuple(
            ShareRef(to=keys.public_key, blob=BlobRef(digest=one.digest, size=one.size))
            for keys, one in zip(receivers, contents, strict=True)
        )
        frame = self.someone.announce(round_, shares=shares)
        return Heard(frame=frame, via=self.id), contents[0] if contents else Content.of(b"")


def push(bench: Bench, pusher: Pusher, round_: int) -> list[Effect]:
    """Hear of a share for us and get it."""
    heard, content = pusher.announce(round_, bench.keys)
    effects = bench.tell(heard)
    pull = only(effects, Pull)
    assert (pull.digest, pull.size) == (content.digest, 40)
    return [*effects, *bench.tell(Pulled(request=pull.request, content=content))]


def met(bench: Bench, *pushers: Pusher) -> None:
    bench.meet(*(one.someone for one in pushers))


def test_what_was_pushed_is_taken_in_and_there_is_no_row(bench: Bench) -> None:
    effects = bench.start()
    alice = Pusher("alice")
    met(bench, alice)
    push(bench, alice, 0)
    absorbing = bench.publish(bench.answer(effects))
    absorb = only(absorbing, Absorb)
    assert [(one.peer, one.round) for one in absorb.shares] == [(alice.id, 0)]
    ended = bench.answer(absorbing)
    record = round_record(ended)
    assert (record.guard, record.self_weight, record.absorbed) == ("taken", 1.0, 1)
    assert [(seen.name, seen.weight) for seen in record.seen] == [("alice", 0.0)]
    assert only(ended, Train).receivers == (alice.id,)


def test_shares_are_no_adapters_to_be_kept() -> None:
    bench = Bench(learner=LearnerConfig(mixing="push-sum"), keep_neighbours=True)
    effects = bench.start()
    alice = Pusher("alice")
    met(bench, alice)
    push(bench, alice, 0)

    ended = bench.answer(bench.publish(bench.answer(effects)))

    assert [seen.name for seen in round_record(ended).seen] == ["alice"]
    assert not every(ended, Keep)


def test_it_is_pushed_to_those_heard_and_connected_and_each_share_is_served(bench: Bench) -> None:
    effects = bench.start()
    assert only(effects, Train).receivers == (), "nobody is known yet"
    near, far = Pusher("near"), Pusher("far")
    met(bench, near)
    bench.tell(near.announce(0)[0])
    bench.tell(far.announce(0)[0])
    training = bench.finish(bench.publish(bench.answer(effects)))
    assert only(training, Train).receivers == (near.id,)
    saving = bench.answer(training)
    saved = only(saving, Store).saved
    announcement = decode_announcement(only(bench.publish(saving), Publish).frame).announcement
    (share,) = announcement.shares
    assert share.to == near.someone.keys.public_key
    assert bench.core.blob(share.blob.digest, "someone") == saved.shares[0].content.data


def test_many_are_pushed_to_in_turn_and_never_more_than_can_be_announced(bench: Bench) -> None:
    effects = bench.start()
    many = [Pusher(f"p{n}") for n in range(20)]
    for one in many:
        bench.tell(Connected(peer=one.id))
    reached: set[str] = set()
    for round_ in range(8):
        for one in many:
            bench.tell(one.announce(round_)[0])
        effects = bench.finish(bench.publish(bench.answer(effects)))
        receivers = only(effects, Train).receivers
        assert len(set(receivers)) == MAX_SHARES
        reached |= set(receivers)
    assert reached == {one.id for one in many}


def test_an_announcement_that_names_us_not_is_complete_without_a_fetch(bench: Bench) -> None:
    effects = bench.start()
    alice = Pusher("alice")
    met(bench, alice)
    bench.publish(bench.answer(effects))
    assert isinstance(bench.core.stage, Gathering), "she is waited for"
    heard, _ = alice.announce(0, RemotePeer("bob").keys)
    effects = bench.tell(heard)
    assert not every(effects, Pull)
    assert only(effects, Absorb).shares == ()
    record = round_record(bench.answer(effects))
    assert (record.guard, record.absorbed, len(record.seen)) == ("alone", 0, 1)


def test_a_share_stands_although_its_sender_then_pushes_elsewhere(bench: Bench) -> None:
    effects = bench.start()
    alice = Pusher("alice")
    met(bench, alice)
    push(bench, alice, 0)
    bench.tell(alice.announce(1, RemotePeer("bob").keys)[0])
    absorb = only(bench.publish(bench.answer(effects)), Absorb)
    assert [(one.peer, one.round) for one in absorb.shares] == [(alice.id, 0)]


def test_what_was_taken_in_is_not_taken_again(bench: Bench) -> None:
    effects = bench.start()
    alice = Pusher("alice")
    met(bench, alice)
    push(bench, alice, 0)
    effects = bench.finish(bench.publish(bench.answer(effects)))
    again = bench.lose_patience(bench.publish(bench.answer(effects)))
    assert only(again, Absorb).shares == ()


def revived(bench: Bench) -> list[Effect]:
    """Lose the learner, and open it again when the pause is over."""
    wake = bench.tell(LearnerLost(why="killed"))[-1]
    assert isinstance(wake, WakeAt)
    return bench.answer(bench.tell(Woke(timer=wake.timer), after=wake.at - bench.now))


def test_a_learner_lost_while_it_takes_mass_in_is_given_it_again(bench: Bench) -> None:
    effects = bench.start()
    alice = Pusher("alice")
    met(bench, alice)
    push(bench, alice, 0)
    first = only(bench.publish(bench.answer(effects)), Absorb)
    for _ in range(MERGE_TRIES - 1):
        effects = revived(bench)
        assert only(effects, Absorb).shares == first.shares
    effects = revived(bench)
    assert only(effects, Absorb).shares == (), "this round ends alone"
    ended = bench.answer(effects)
    following = bench.lose_patience(bench.publish(bench.answer(ended)))
    assert only(following, Absorb).shares == first.shares, "the mass is still there"


def test_shares_that_cannot_be_taken_cost_their_sender_and_no_ban_at_once(bench: Bench) -> None:
    effects = bench.start()
    alice = Pusher("alice")
    met(bench, alice)
    for round_ in range(4):
        assert bench.core.welcome(alice.id, bench.now), "an honest peer may have lost its newest state"
        push(bench, alice, round_)
        absorbing = bench.publish(bench.answer(effects))
        merged = bench.answer_to(absorbing)
        assert isinstance(merged, Merged)
        effects = bench.tell(msgspec.structs.replace(merged, refused=(alice.id,)))
        refusals = [one for one in records(effects) if isinstance(one, Refusal)]
        assert [(one.field, one.about) for one in refusals] == [("share", alice.id)] * (not round_)
    assert not bench.core.welcome(alice.id, bench.now)


def test_the_banned_are_not_taken_from(bench: Bench) -> None:
    effects = bench.start()
    alice = Pusher("alice")
    met(bench, alice)
    push(bench, alice, 3)
    bench.tell(Heard(frame=alice.someone.announce(3, tokens=2), via="bob"))
    waiting = bench.publish(bench.answer(effects))
    assert only(bench.lose_patience(waiting), Absorb).shares == ()


def test_what_was_announced_survives_a_crash_with_its_shares(bench: Bench) -> None:
    effects = bench.start()
    alice = Pusher("alice")
    met(bench, alice)
    push(bench, alice, 0)
    saving = bench.answer(bench.finish(bench.publish(bench.answer(effects))))
    saved = only(saving, Store).saved
    assert [one.peer for one in saved.shares] == [alice.id]
    after = Bench(saved=saved, learner=LearnerConfig(mixing="push-sum"))
    published = after.publish(after.start())
    (share,) = decode_announcement(only(published, Publish).frame).announcement.shares
    assert after.core.blob(share.blob.digest, "someone") == saved.shares[0].content.data


def test_before_the_first_merge_nothing_is_pushed() -> None:
    bench = Bench(learner=LearnerConfig(mixing="push-sum"), rounds={"warmup_rounds": 2})
    effects = bench.start()
    alice = Pusher("alice")
    met(bench, alice)
    pushed: list[tuple[str, ...]] = []
    for round_ in range(3):
        bench.tell(alice.announce(round_)[0])
        pushed.append(only(effects, Train).receivers)
        effects = bench.finish(bench.publish(bench.answer(effects)))
    assert pushed == [(), (), (alice.id,)]


def test_shares_of_few_senders_wait_the_newest_of_each() -> None:
    from peers.core.others.blobs.shares import ArrivedShares

    arrived = ArrivedShares(3)
    for sender in "abcd":
        arrived.put(sender, 5, Content.of(sender.encode()))
    arrived.put("d", 4, Content.of(b"older"))
    arrived.put("c", 6, Content.of(b"newer"))
    waiting = arrived.waiting(lambda peer: peer == "b")
    assert [(one.peer, one.content.data) for one in waiting] == [("c", b"newer"), ("d", b"d")]
    arrived.remove([PushedShare(peer="c", round=5, content=Content.of(b"c"))])
    assert [one.peer for one in arrived.waiting(lambda peer: False)] == ["b", "c", "d"]
