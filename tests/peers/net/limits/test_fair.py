"""A rate in all: an asker that asks for much delays itself."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from peers.net.limits.fair import FairBucket


async def test_one_greedy_asker_does_not_delay_the_others(autojump_clock: MockClock) -> None:
    bucket = FairBucket(rate_s=10.0, burst=5.0)
    got: dict[str, list[float]] = {"greedy": [], "honest": []}

    async def ask(who: str) -> None:
        await bucket.take(who)
        got[who].append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bucket.run)
        async with trio.open_nursery() as asking:
            for _ in range(500):
                asking.start_soon(ask, "greedy")
            await trio.testing.wait_all_tasks_blocked()
            began = trio.current_time()
            for _ in range(3):
                asking.start_soon(ask, "honest")
        nursery.cancel_scope.cancel()
    assert max(got["honest"]) - began <= 0.8
    assert abs(max(got["greedy"]) - began - 49.8) <= 0.5


async def test_the_rate_holds_whoever_asks(autojump_clock: MockClock) -> None:
    bucket = FairBucket(rate_s=10.0, burst=5.0)
    passed = 0

    async def ask_for_ever(who: str) -> None:
        nonlocal passed
        while True:
            await bucket.take(who)
            passed += 1

    with trio.move_on_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bucket.run)
            for number in range(20):
                nursery.start_soon(ask_for_ever, f"asker {number}")
    assert 100 <= passed <= 106


async def test_an_asker_that_gives_up_takes_nothing(autojump_clock: MockClock) -> None:
    bucket = FairBucket(rate_s=1.0, burst=1.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bucket.run)
        await bucket.take("first")
        with trio.move_on_after(0.5):
            await bucket.take("gives up")
        began = trio.current_time()
        await bucket.take("next")
        assert trio.current_time() - began <= 0.5 + 1e-6
        assert not bucket._waiting
        nursery.cancel_scope.cancel()
