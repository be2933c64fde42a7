"""Of whom the blobs of an author that is not connected are asked."""

from __future__ import annotations

from peers.core.config import DefenceConfig
from peers.core.effects import Publish, Pull
from peers.core.events import Connected, Heard, NotPulled
from support.core_bench import Bench, RemotePeer, update_of
from support.effects import every, only
from support.running_core import neighbourhood
from wire.codec import decode_announcement
from wire.holders import encode_holds

NEAR = RemotePeer("near", update=update_of([1.0, 0.0, 0.0, 0.0]))
OTHER = RemotePeer("other", update=update_of([0.0, 1.0, 0.0, 0.0]))
FAR = RemotePeer("far", update=update_of([0.0, 0.0, 1.0, 0.0]))
NEWER = update_of([1.0, 0.25, 0.0, 0.0])


def bench_of() -> Bench:
    """A core with two neighbours that have announced their first round."""
    bench = Bench(defence=DefenceConfig(), rounds={"rounds": 9})
    bench.start()
    bench.meet(NEAR, OTHER)
    for one in (NEAR, OTHER):
        bench.receive(one, 0)
    return bench


def naming(*authors: RemotePeer) -> bytes:
    return encode_holds(one.keys.public_key for one in authors)


def test_an_author_that_no_neighbour_names_is_not_asked_for() -> None:
    bench = bench_of()
    assert not every(bench.tell(Heard(frame=FAR.announce(0, inline=False), via=NEAR.id)), Pull)
    assert FAR.id not in neighbourhood(bench.core).partners()


def test_an_author_is_asked_for_of_the_neighbours_that_name_it_only() -> None:
    bench = bench_of()
    bench.receive(OTHER, 1, holds=naming(FAR))
    effects = bench.tell(Heard(frame=FAR.announce(0, inline=False), via=NEAR.id))
    assert {pull.sources for pull in every(effects, Pull)} == {(OTHER.id,)}
    assert {pull.digest for pull in every(effects, Pull)} == {FAR.update.digest}


def test_a_holder_of_another_base_is_not_asked_for_an_update() -> None:
    bench = bench_of()
    theirs = decode_announcement(NEAR.announce()).announcement.fingerprints
    foreign = type(theirs)(
        base=b"x" * 32, tokenizer=theirs.tokenizer, reference=theirs.reference, layout=theirs.layout
    )
    bench.receive(OTHER, 1, holds=naming(FAR), fingerprints=foreign)
    assert not every(bench.tell(Heard(frame=FAR.announce(0, inline=False), via=NEAR.id)), Pull)


def test_an_author_that_left_after_it_announced_is_still_asked_for_of_neighbours() -> None:
    bench = bench_of()
    bench.meet(FAR)
    pull = every(bench.tell(Heard(frame=FAR.announce(0, inline=False), via=FAR.id)), Pull)[0]
    assert pull.sources[0] == FAR.id
    assert {NEAR.id, OTHER.id} <= set(pull.sources)


def announced_with(bench: Bench, *, far: bool) -> bytes:
    """What a core's announcement names, whose neighbours were fetched from, and which may know an author far away."""
    if far:
        bench.tell(Heard(frame=FAR.announce(0, inline=False), via=NEAR.id))
    return neighbourhood(bench.core).holds()


def test_connected_partners_are_named_once_an_author_is_known_that_is_not_connected() -> None:
    bench = Bench(rounds={"rounds": 9})
    bench.start()
    bench.meet(NEAR, OTHER)
    bench.receive(NEAR, 0)
    assert announced_with(bench, far=False) == b""
    assert announced_with(bench, far=True) == naming(NEAR), "of the other no blob is here yet"


def test_what_a_neighbour_names_shows_that_not_all_are_connected() -> None:
    bench = Bench(rounds={"rounds": 9})
    bench.start()
    bench.meet(NEAR, OTHER)
    bench.receive(NEAR, 0, holds=naming(OTHER))
    assert announced_with(bench, far=False) == naming(NEAR)


def publishing() -> Bench:
    """A core that announced that it holds blobs of a neighbour."""
    bench = Bench(rounds={"rounds": 9})
    effects = bench.start()
    bench.meet(NEAR, OTHER)
    bench.receive(NEAR, 0)
    bench.tell(Heard(frame=FAR.announce(0, inline=False), via=NEAR.id))
    frame = only(bench.publish(bench.answer(effects)), Publish).frame
    assert decode_announcement(frame).announcement.holds == naming(NEAR)
    return bench


def later(bench: Bench, asker: RemotePeer) -> bool:
    return bench.core.withholds(NEWER.digest, asker.id)


def test_a_blob_on_its_way_is_promised_to_those_that_cannot_fetch_it_from_its_author() -> None:
    bench = publishing()
    assert not later(bench, OTHER)
    newer = RemotePeer("near", update=NEWER)
    pull = only(bench.tell(Heard(frame=newer.announce(1), via=newer.id)), Pull)
    assert later(bench, OTHER)
    bench.receive(OTHER, 1, holds=naming(NEAR))
    assert not later(bench, OTHER), "it can fetch it itself, and each would wait for the other"
    bench.receive(OTHER, 2)
    assert later(bench, OTHER)
    bench.tell(NotPulled(request=pull.request, why="gone"))
    assert not later(bench, OTHER), "it may never come"


def test_nothing_is_promised_where_nothing_was_named() -> None:
    bench = Bench(rounds={"rounds": 9})
    effects = bench.start()
    bench.meet(NEAR, OTHER)
    bench.publish(bench.answer(effects))
    bench.tell(Connected(peer=NEAR.id))
    newer = RemotePeer("near", update=NEWER)
    assert every(bench.tell(Heard(frame=newer.announce(1), via=newer.id)), Pull)
    assert not later(bench, OTHER)
