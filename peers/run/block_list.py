"""Follows the block list of the home while the peer runs, so that `gossipllm trust block` needs no control port."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NoReturn

import trio

from peers.core.events import PeerId
from peers.identity import canonical_peer_id
from trust.errors import UserMistake
from trust.record.blocked import BLOCKED_FILE, read_blocked

LOOK_EVERY_S: Final = 2.0
"""Seconds between looks at the file, each of which is one call of `stat`. Guess: what a person waits for."""


async def watch_block_list(
    folder: Path, block: Callable[[Sequence[PeerId]], object], warn: Callable[[str], object]
) -> NoReturn:
    """Give the list to `block` at once and after each change of the file.

    A list that cannot be read changes nothing: the one before stays in force, and `warn` is told once.
    """
    last: tuple[int, ...] | None = None
    while True:
        looks = _looks_of(folder / BLOCKED_FILE)
        if looks != last:
            last = looks
            try:
                block(tuple(map(_spelled, read_blocked(folder))))
            except UserMistake as error:
                warn(str(error))
        await trio.sleep(LOOK_EVERY_S)


def _spelled(peer: PeerId) -> PeerId:
    """The one spelling of an id that was written by hand; what is no id stands for itself and blocks nobody."""
    try:
        return canonical_peer_id(peer)
    except ValueError:
        return peer


def _looks_of(path: Path) -> tuple[int, ...]:
    """What changes with every replacement of the file; empty where there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns
