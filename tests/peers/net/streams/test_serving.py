"""Places for the blobs that are served: slow readers cannot hold them against the others."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from peers.net.streams.serving import SERVE_GRACE_S, SERVES_PER_PEER, Serving, Transfer


def place(serving: Serving, peer: str, group: str | None = None) -> Transfer | None:
    return serving.place(peer, group or f"v4:8.8.8.{abs(hash(peer)) % 250}")


async def test_one_peer_has_two_places(autojump_clock: MockClock) -> None:
    serving = Serving(8, upload_bytes_s=1e6)
    assert sum(place(serving, "greedy", "v4:8.8.8.8") is not None for _ in range(9)) == SERVES_PER_PEER
    assert place(serving, "honest", "v4:9.9.9.9") is not None


async def test_one_address_leaves_a_quarter_to_the_others_but_this_machine_is_one_address(
    autojump_clock: MockClock,
) -> None:
    serving = Serving(8, upload_bytes_s=1e6)
    assert sum(place(serving, f"sybil {n}", "v4:8.8.8.8") is not None for n in range(20)) == 6
    assert place(serving, "honest", "v4:9.9.9.9") is not None
    serving = Serving(8, upload_bytes_s=1e6)
    assert sum(place(serving, f"demo {n}", "v4:127.0.0.1") is not None for n in range(20)) == 8


async def test_a_slow_transfer_gives_way_once_it_had_its_time_and_a_fast_one_does_not(
    autojump_clock: MockClock,
) -> None:
    serving = Serving(2, upload_bytes_s=32e6)
    ended: list[str] = []

    async def hold(transfer: Transfer) -> None:
        with serving.under_way(transfer):
            await trio.sleep_forever()
        if transfer.scope.cancelled_caught:
            ended.append(transfer.peer)

    async with trio.open_nursery() as nursery:
        slow, fast = (serving.place(name, f"v4:{group}.8.8.8") for name, group in (("slow", 8), ("fast", 9)))
        assert slow is not None
        assert fast is not None
        nursery.start_soon(hold, slow)
        nursery.start_soon(hold, fast)
        await trio.sleep(SERVE_GRACE_S / 2)
        assert serving.place("early", "v4:10.8.8.8") is None
        await trio.sleep(SERVE_GRACE_S)
        slow.sent_bytes, fast.sent_bytes = 100_000, 10_000_000
        late = serving.place("late", "v4:10.8.8.8")
        assert late is not None
        nursery.start_soon(hold, late)
        await trio.testing.wait_all_tasks_blocked()
        assert ended == ["slow"]
        nursery.cancel_scope.cancel()


async def test_a_transfer_that_our_own_limit_makes_slow_stays(autojump_clock: MockClock) -> None:
    serving = Serving(1, upload_bytes_s=4_000)
    transfer = serving.place("patient", "v4:8.8.8.8")
    assert transfer is not None
    await trio.sleep(100)
    transfer.sent_bytes = 100 * 2_000
    assert serving.place("newcomer", "v4:9.9.9.9") is None
