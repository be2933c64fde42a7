"""Compressed contexts: who makes them serves them, who needs one fetches it in time or does without."""

from __future__ import annotations

from typing import Unpack

import msgspec
import pytest

from gossipllm.config import LayersConfig, LearnerConfig
from gossipllm.config.choices import ContextSource
from gossipllm.work import MadeContext, Train
from peers.core.effects import Effect, Publish, Pull
from peers.core.events import Connected, Heard, NotPulled, Pulled
from peers.core.others.blobs.contexts import MAX_FAILED
from sim.toy.units import CONTEXT_BYTES, context_key, fingerprints
from support.core_bench import Bench, RemotePeer, RoundOptions
from support.effects import every, only
from support.running_core import neighbourhood
from wire.codec import decode_announcement
from wire.digest import Content
from wire.messages import MAX_CONTEXTS, BlobRef, ContextRef, network_id

SPLIT = fingerprints(form="split")


def context(first: int) -> Content:
    return Content.of(context_key(first) * 4)


def ref(first: int, *, content: Content | None = None, size: int | None = None) -> ContextRef:
    content = content or context(first)
    return ContextRef(key=context_key(first), blob=BlobRef(digest=content.digest, size=size or content.size))


def announced(someone: RemotePeer, round_: int, *contexts: ContextRef) -> Heard:
    frame = someone.announce(
        round_, fingerprints=SPLIT, net=network_id("gossipllm", SPLIT.reference), contexts=contexts
    )
    return Heard(frame=frame, via=someone.id)


def bench_that(contexts: ContextSource, **rounds: Unpack[RoundOptions]) -> Bench:
    layers = LayersConfig(count=1, context="distil", contexts=contexts)
    return Bench(form="split", learner=LearnerConfig(layers=layers), rounds=rounds)


def of_contexts(pulls: list[Pull]) -> list[Pull]:
    digests = {context(first).digest for first in range(4)}
    return [pull for pull in pulls if pull.digest in digests]


@pytest.fixture
def alice() -> RemotePeer:
    return RemotePeer("alice")


# -- making -----------------------------------------------------------------------------------------


def test_what_was_made_is_announced_and_served() -> None:
    bench = bench_that("make")
    effects = bench.start()
    window = only(effects, Train).units
    published = bench.publish(bench.answer(effects))
    announcement = decode_announcement(only(published, Publish).frame).announcement
    (made,) = announcement.contexts
    assert made.key == context_key(window[0].bit_length() - 1)
    assert bench.core.blob(made.blob.digest, "someone") == made.key * 4


def test_the_last_ones_made_are_kept_and_no_more_than_can_be_announced() -> None:
    bench = bench_that("make")
    bench.start()
    contexts = neighbourhood(bench.core).fetching.contexts
    made = [MadeContext(key=bytes([n]) * 32, content=Content.of(bytes([n]))) for n in range(7)]
    contexts.made(made)
    contexts.made(made[3:4])
    assert [one.key[0] for one in contexts.refs()] == [4, 5, 6, 3]
    assert len(contexts.refs()) == MAX_CONTEXTS
    assert contexts.blob(made[0].content.digest) is None


# -- fetching ---------------------------------------------------------------------------------------


def trained(bench: Bench, alice: RemotePeer, *contexts: ContextRef) -> list[Effect]:
    """Start, hear of her contexts, train, publish: the effects up to there."""
    effects = bench.start()
    bench.meet(alice)
    bench.tell(announced(alice, 0, *contexts))
    return bench.publish(bench.answer(effects))


def test_the_next_windows_context_is_fetched_while_the_round_goes_on(alice: RemotePeer) -> None:
    bench = bench_that("fetch")
    effects = trained(bench, alice, ref(2))
    (pull,) = of_contexts(every(effects, Pull))
    assert pull.sources == (alice.id,)
    bench.tell(Pulled(request=pull.request, content=context(2)))
    train = only(bench.finish(bench.lose_patience(effects)), Train)
    assert train.context == context(2)
    assert train.units == b"\x04"


def test_a_context_that_does_not_come_is_done_without(alice: RemotePeer) -> None:
    bench = bench_that("fetch")
    effects = trained(bench, alice, ref(2))
    train = only(bench.finish(bench.lose_patience(effects)), Train)
    assert (train.context, train.units) == (None, b"\x04")


def test_one_that_failed_is_asked_for_again_and_nobody_is_blamed(alice: RemotePeer) -> None:
    bench = bench_that("fetch")
    effects = trained(bench, alice, ref(2))
    (pull,) = of_contexts(every(effects, Pull))
    assert bench.tell(NotPulled(request=pull.request, why="gone")) == []
    assert bench.core.welcome(alice.id, bench.now)
    (again,) = of_contexts(every(neighbourhood(bench.core).fetching.fetch_missing(), Pull))
    assert again.request != pull.request


def test_one_that_came_too_late_serves_a_later_round(alice: RemotePeer) -> None:
    bench = bench_that("fetch")
    effects = trained(bench, alice, ref(2))
    (pull,) = of_contexts(every(effects, Pull))
    effects = bench.finish(bench.lose_patience(effects))
    bench.tell(Pulled(request=pull.request, content=context(2)))
    effects = bench.publish(bench.answer(effects))
    train = only(bench.finish(bench.lose_patience(effects)), Train)
    assert train.context == context(2)


def test_one_that_the_learner_refused_is_dropped_and_anothers_is_fetched(alice: RemotePeer) -> None:
    bench = bench_that("fetch")
    bad, bob = Content.of(b"bad"), RemotePeer("bob")
    effects = trained(bench, alice, ref(2, content=bad))
    pull = every(effects, Pull)[-1]
    bench.tell(Pulled(request=pull.request, content=bad))
    effects = bench.finish(bench.lose_patience(effects))
    assert only(effects, Train).context == bad
    bench.tell(Connected(peer=bob.id))
    bench.tell(announced(bob, 0, ref(2)))
    answer = bench.answer_to(effects)
    effects = bench.publish(bench.tell(msgspec.structs.replace(answer, context_refused=True)))
    assert bench.core.blob(bad.digest, "someone") is None, "and passed on to nobody"
    (again,) = of_contexts(every(effects, Pull))
    assert (again.digest, again.sources) == (context(2).digest, (bob.id,))


def test_one_that_the_learner_refused_is_not_fetched_again(alice: RemotePeer) -> None:
    bench = bench_that("fetch")
    trained(bench, alice, ref(2))
    contexts, others = neighbourhood(bench.core).fetching.contexts, neighbourhood(bench.core)
    contexts.refused(context(2))
    assert not contexts.within_reach(others.lately())
    for n in range(MAX_FAILED):
        contexts.refused(Content.of(bytes([n])))
    assert contexts.within_reach(others.lately()) == {context_key(2)}, "the last ones are remembered"


def test_nobody_fetches_more_than_a_context_of_this_model_can_have(alice: RemotePeer) -> None:
    bench = bench_that("fetch")
    effects = trained(bench, alice, ref(1, size=CONTEXT_BYTES + 1))
    assert not of_contexts(every(effects, Pull))
    at_most = bench_that("fetch")
    effects = trained(at_most, alice, ref(1, size=CONTEXT_BYTES))
    assert of_contexts(every(effects, Pull))


def test_nobody_fetches_what_is_absurdly_large_or_of_no_window(alice: RemotePeer) -> None:
    bench = bench_that("fetch", most_context_mb=1)
    large = ref(1, size=2**31 - 1)
    foreign = ContextRef(key=bytes(32), blob=BlobRef(digest=bytes(32), size=1))
    effects = trained(bench, alice, large, foreign)
    assert not of_contexts(every(effects, Pull))
    assert bench.core.welcome(alice.id, bench.now)


def test_of_two_that_differ_the_one_of_those_we_trust_is_fetched(alice: RemotePeer) -> None:
    bench = bench_that("fetch")
    bench.start()
    bob, carol = RemotePeer("bob"), RemotePeer("carol")
    forged = Content.of(b"forged")
    for someone, one in ((alice, ref(1)), (bob, ref(1, content=forged)), (carol, ref(1, content=forged))):
        bench.tell(Connected(peer=someone.id))
        bench.tell(announced(someone, 0, one))
    contexts, others = neighbourhood(bench.core).fetching.contexts, neighbourhood(bench.core)
    contexts.want(context_key(1))
    trusting = contexts.fetch(others.lately(), {alice.id: 0.5, bob.id: 0.1}, others.connected)
    assert [(one.digest, one.sources) for one in trusting] == [(context(1).digest, (alice.id,))]
    contexts.ends(trusting[0].request, None)
    (blind,) = contexts.fetch(others.lately(), {}, others.connected)
    assert (blind.digest, set(blind.sources)) == (forged.digest, {bob.id, carol.id})


def test_what_many_announce_and_nobody_gives_does_not_stand_in_the_way(alice: RemotePeer) -> None:
    bench = bench_that("fetch")
    bench.start()
    sybils = [RemotePeer("bob"), RemotePeer("carol")]
    withheld = ref(1, content=Content.of(b"never given"))
    for someone, one in ((alice, ref(1)), *((sybil, withheld) for sybil in sybils)):
        bench.tell(Connected(peer=someone.id))
        bench.tell(announced(someone, 0, one))
    contexts, others = neighbourhood(bench.core).fetching.contexts, neighbourhood(bench.core)
    contexts.want(context_key(1))
    (first,) = contexts.fetch(others.lately(), {}, others.connected)
    assert first.digest == withheld.blob.digest
    bench.tell(NotPulled(request=first.request, why="not here"))
    (second,) = contexts.fetch(others.lately(), {}, others.connected)
    assert (second.digest, second.sources) == (context(1).digest, (alice.id,))


def test_who_lies_about_the_size_alone_spoils_no_fetch_from_others(alice: RemotePeer) -> None:
    bench = bench_that("fetch")
    bench.start()
    liar = RemotePeer("liar")
    for someone, one in ((liar, ref(1, size=7)), (alice, ref(1))):
        bench.tell(Connected(peer=someone.id))
        bench.tell(announced(someone, 0, one))
    contexts, others = neighbourhood(bench.core).fetching.contexts, neighbourhood(bench.core)
    contexts.want(context_key(1))
    (pull,) = contexts.fetch(others.lately(), {alice.id: 0.5, liar.id: 0.1}, others.connected)
    assert (pull.size, pull.sources) == (context(1).size, (alice.id,))


def test_few_fetched_contexts_are_held_and_passed_on(alice: RemotePeer) -> None:
    bench = bench_that("fetch")
    bench.start()
    bench.tell(Connected(peer=alice.id))
    bench.tell(announced(alice, 0, *(ref(first) for first in range(4))))
    contexts, others = neighbourhood(bench.core).fetching.contexts, neighbourhood(bench.core)
    for first in range(4):
        contexts.want(context_key(first))
        (pull,) = contexts.fetch(others.lately(), {}, others.connected)
        assert not contexts.fetch(others.lately(), {}, others.connected), "one at a time"
        bench.tell(Pulled(request=pull.request, content=context(first)))
    assert set(contexts.held) == {context_key(2), context_key(3)}
    assert bench.core.blob(context(3).digest, "someone") == context(3).data


def test_who_makes_its_own_fetches_none(alice: RemotePeer) -> None:
    bench = bench_that("make")
    assert not of_contexts(every(trained(bench, alice, ref(2)), Pull))
