"""Packed forms of updates: which is fetched, and that nothing but the announced update ever comes of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from peers.core.effects import Pull, Verdict
from peers.core.events import Heard, NotPulled, Pulled
from peers.core.others.blobs.pulls import BAD_PACKING_FINE
from sim.toy.learner import SCHEMA, WHOLE
from support.core_bench import Bench, RemotePeer, update_of
from support.effects import every, only, refusals, verdict
from support.running_core import neighbourhood
from wire.digest import NO_DIGEST, Content
from wire.messages import BlobRef, PackedRef
from wire.updates.packed_updates import pack_update
from wire.updates.packing import OnSteps

FIRST, SECOND, THIRD = (update_of([1.0, 0.5, 0.0, number / 4]) for number in range(3))


def packed(update: Content, base: Content | None = None) -> tuple[PackedRef, Content]:
    """A packed form of an update of multiples of a quarter."""
    values = {
        spec.name: np.frombuffer(update.data, "<f4", offset=4).reshape(spec.shape)
        for spec in SCHEMA.layout(WHOLE).tensors
    }
    adapter = OnSteps(values, dict.fromkeys(values, -2))
    data = Content.of(pack_update(adapter, SCHEMA, WHOLE, None if base is None else base.data))
    ref = BlobRef(digest=data.digest, size=data.size)
    return PackedRef(base=NO_DIGEST if base is None else base.digest, blob=ref), data


KEY_1, KEY_1_BYTES = packed(FIRST)
KEY_2, KEY_2_BYTES = packed(SECOND)
MOVE_2, MOVE_2_BYTES = packed(SECOND, FIRST)


def announce(bench: Bench, of: RemotePeer, round_: int, update: Content, *forms: PackedRef) -> Pull:
    of.update = update
    return only(bench.tell(Heard(frame=of.announce(round_, packed=forms), via=of.id)), Pull)


def held(bench: Bench, digests: Sequence[Content]) -> list[bool]:
    return [bench.core.blob(one.digest, "someone") is not None for one in digests]


def test_a_stranger_is_fetched_from_by_its_key_frame(open_bench: Bench, alice: RemotePeer) -> None:
    pull = announce(open_bench, alice, 0, FIRST, KEY_1)
    assert (pull.digest, pull.size) == (KEY_1.blob.digest, KEY_1_BYTES.size)
    open_bench.tell(Pulled(request=pull.request, content=KEY_1_BYTES))
    assert held(open_bench, [FIRST, KEY_1_BYTES]) == [True, True], "and both are passed on to others"


def test_an_author_whose_last_update_is_held_is_fetched_from_by_differences(
    open_bench: Bench, alice: RemotePeer
) -> None:
    pull = announce(open_bench, alice, 0, FIRST, KEY_1)
    open_bench.tell(Pulled(request=pull.request, content=KEY_1_BYTES))
    pull = announce(open_bench, alice, 1, SECOND, KEY_2, MOVE_2)
    assert pull.digest == min(KEY_2.blob, MOVE_2.blob, key=lambda ref: ref.size).digest
    assert MOVE_2_BYTES.size < KEY_2_BYTES.size
    open_bench.tell(Pulled(request=pull.request, content=MOVE_2_BYTES))
    assert held(open_bench, [SECOND]) == [True]


def test_a_missed_update_is_followed_by_a_key_frame(open_bench: Bench, alice: RemotePeer) -> None:
    pull = announce(open_bench, alice, 0, FIRST, KEY_1)
    open_bench.tell(NotPulled(request=pull.request, why="gone"))
    alice.update = SECOND
    heard = open_bench.tell(Heard(frame=alice.announce(1, packed=(KEY_2, MOVE_2)), via=alice.id))
    assert not every(heard, Pull), "the whole of the first is still being asked for"
    whole = open_bench.tell(NotPulled(request=pull.request + 1, why="gone too"))
    assert only(whole, Pull).digest == KEY_2.blob.digest


def test_what_no_packed_form_can_be_had_of_is_fetched_whole_at_once(
    open_bench: Bench, alice: RemotePeer
) -> None:
    pull = announce(open_bench, alice, 0, FIRST, KEY_1)
    then = open_bench.tell(NotPulled(request=pull.request, why="nobody has it"))
    whole = only(then, Pull)
    assert (whole.digest, whole.size) == (FIRST.digest, FIRST.size)
    open_bench.tell(Pulled(request=whole.request, content=FIRST))
    assert held(open_bench, [FIRST]) == [True]


def test_a_busy_holder_of_a_packed_form_is_not_asked_for_the_whole(
    open_bench: Bench, alice: RemotePeer
) -> None:
    pull = announce(open_bench, alice, 0, FIRST, KEY_1)
    assert not every(open_bench.tell(NotPulled(request=pull.request, why="busy", later=True)), Pull)


def test_a_packed_form_of_another_update_costs_its_author_and_the_announced_one_is_fetched(
    alice: RemotePeer,
) -> None:
    for wrong in (KEY_2_BYTES, Content.of(b"no form"), MOVE_2_BYTES):
        bench = Bench()
        bench.start()
        bench.meet(alice)
        lie = PackedRef(base=NO_DIGEST, blob=BlobRef(digest=wrong.digest, size=wrong.size))
        pull = announce(bench, alice, 0, FIRST, lie)
        then = bench.tell(Pulled(request=pull.request, content=wrong))
        assert held(bench, [SECOND, FIRST]) == [False, False]
        assert neighbourhood(bench.core).scores.score(alice.id, bench.now) == BAD_PACKING_FINE
        whole = only(then, Pull)
        assert whole.digest == FIRST.digest
        bench.tell(Pulled(request=whole.request, content=FIRST))
        assert held(bench, [FIRST]) == [True]


def test_a_packed_form_as_large_as_the_update_is_refused(open_bench: Bench, alice: RemotePeer) -> None:
    vain = PackedRef(base=NO_DIGEST, blob=BlobRef(digest=THIRD.digest, size=FIRST.size))
    alice.update = FIRST
    effects = open_bench.tell(Heard(frame=alice.announce(0, packed=(vain,)), via=alice.id))
    assert verdict(effects) is Verdict.REJECT
    assert refusals(effects) == [(alice.id, "announcement.packed.size")]
