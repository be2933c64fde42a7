"""The running peer notices its block list: at once, after each change, and never a damaged one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import trio
import trio.testing

from peers.run.block_list import LOOK_EVERY_S, watch_block_list
from trust.record.blocked import BLOCKED_FILE, BlockedPeer, write_blocked


async def test_the_list_is_given_at_once_and_after_each_change_and_only_then(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    lists: list[Sequence[str]] = []
    warnings: list[str] = []
    write_blocked(tmp_path, [BlockedPeer(peer="first")])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_block_list, tmp_path, lists.append, warnings.append)
        await trio.sleep(3 * LOOK_EVERY_S)
        write_blocked(tmp_path, [BlockedPeer(peer="first"), BlockedPeer(peer="second")])
        await trio.sleep(3 * LOOK_EVERY_S)
        (tmp_path / BLOCKED_FILE).write_text("{")
        await trio.sleep(3 * LOOK_EVERY_S)
        (tmp_path / BLOCKED_FILE).unlink()
        await trio.sleep(3 * LOOK_EVERY_S)
        nursery.cancel_scope.cancel()
    assert lists == [("first",), ("first", "second"), ()]
    assert [BLOCKED_FILE in text for text in warnings] == [True]
