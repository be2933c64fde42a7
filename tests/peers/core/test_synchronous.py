"""Rounds as the published experiments had them: some without merging first, and then all peers in step."""

from __future__ import annotations

from dataclasses import replace
from typing import Unpack

import pytest

from gossipllm.config import LearnerConfig
from gossipllm.config.choices import Mixing
from gossipllm.work import Evaluate, Merge, Weigh
from peers.core.config import RoundConfig
from peers.core.effects import Pull
from peers.core.events import Heard
from support.core_bench import Bench, RemotePeer, RoundOptions, update_of
from support.effects import every, only, round_record


def test_warm_up_rounds_end_alone_and_fetch_nothing() -> None:
    bench = Bench(rounds={"warmup_rounds": 2})
    alice = RemotePeer("alice")
    effects = bench.start()
    bench.meet(alice)
    for round_ in range(2):
        heard = bench.tell(Heard(frame=alice.announce(round_), via=alice.id))
        assert not every(heard, Pull)
        effects = bench.publish(bench.answer(effects))
        assert not every(effects, Pull)
        assert only(effects, Merge).row == (1.0,)
        effects = bench.answer(effects)
        record = round_record(effects)
        assert (record.guard, record.seen, record.gather_s) == ("alone", (), 0.0)

    bench.receive(alice, 2)
    assert every(bench.publish(bench.answer(effects)), Weigh), "the third merges"


def barrier(**rounds: Unpack[RoundOptions]) -> Bench:
    return Bench(rounds={"barrier": True, "patience_s": 100.0, **rounds})


def test_a_barrier_waits_as_long_as_patience_says() -> None:
    bench = barrier()
    alice = RemotePeer("alice")
    effects = bench.start()
    bench.meet(alice)
    waiting = bench.publish(bench.answer(effects))
    before = bench.now
    bench.lose_patience(waiting)
    assert bench.now - before == 100.0


def test_a_barrier_waits_for_this_rounds_update_of_everybody() -> None:
    """A neighbour's last round does not count, although it came in this one."""
    bench = barrier(warmup_rounds=1)
    alice, bob = RemotePeer("alice"), RemotePeer("bob")
    effects = bench.start()
    bench.meet(alice, bob)
    effects = bench.answer(bench.publish(bench.answer(effects)))
    bench.receive(alice, 0)
    bench.receive(bob, 1)
    effects = bench.publish(bench.answer(effects))
    (weigh,) = every(effects, Weigh)
    assert weigh.author == bob.id
    assert bench.answer(effects) == []
    assert every(bench.answer(bench.receive(alice, 1)), Evaluate)


def test_a_barrier_goes_on_waiting_for_whoever_is_slow() -> None:
    """Without one, who said nothing in two rounds is not waited for."""
    bench = barrier()
    alice = RemotePeer("alice")
    effects = bench.start()
    bench.meet(alice)
    bench.receive(alice, 0)
    effects = bench.finish(bench.publish(bench.answer(effects)))
    waited: list[bool] = []
    for _ in range(6):
        effects = bench.publish(bench.answer(effects))
        waited.append(not every(effects, Weigh) and not every(effects, Merge))
        effects = bench.finish(bench.lose_patience(effects) if waited[-1] else effects)
    assert waited == [True] * 4 + [False] * 2, "given up after max_age rounds of silence"


def test_a_barrier_lets_go_of_whoever_left_or_is_ahead() -> None:
    bench = barrier()
    alice = RemotePeer("alice")
    effects = bench.start()
    bench.meet(alice)
    bench.receive(alice, 7)
    assert every(bench.publish(bench.answer(effects)), Weigh)


def test_a_barrier_does_not_wait_for_an_update_that_was_refused() -> None:
    bench = barrier()
    alice = RemotePeer("alice", update=update_of([1e6, 0.0, 0.0, 0.0]))
    effects = bench.start()
    bench.meet(alice)
    bench.publish(bench.answer(effects))
    assert only(bench.receive(alice), Merge).row == (1.0,)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"barrier": True, "patience_s": 0.0}, "patience_s"), ({"warmup_rounds": -1}, "warmup_rounds")],
)
def test_rounds_out_of_range_name_their_field(wrong: RoundOptions, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        replace(RoundConfig(), **wrong)


def test_a_barrier_gives_up_a_connection_that_never_says_anything() -> None:
    bench = barrier()
    silent = RemotePeer("silent")
    effects = bench.start()
    bench.meet(silent)
    for _ in range(bench.config.trust.max_age + 1):
        effects = bench.finish(bench.lose_patience(bench.publish(bench.answer(effects))))

    effects = bench.publish(bench.answer(effects))

    assert every(effects, Merge), "the sixth round waits for nobody"


def test_what_a_neighbour_gained_is_mixed_once() -> None:
    """A state may be merged again while no newer one comes; a gain may not."""
    cases: tuple[tuple[Mixing, int], ...] = (("parameters", 2), ("updates", 1))
    for mixing, rows in cases:
        bench = Bench(learner=LearnerConfig(mixing=mixing))
        alice = RemotePeer("alice")
        effects = bench.start()
        bench.meet(alice)
        bench.receive(alice, 0)
        effects = bench.finish(bench.publish(bench.answer(effects)))

        effects = bench.lose_patience(bench.publish(bench.answer(effects)))

        asked = [one for one in effects if isinstance(one, Weigh | Merge)]
        assert isinstance(asked[0], Weigh) == (rows == 2), mixing
