"""Notices when the files of a peer's own text change, by their names, sizes and times. Nothing is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NoReturn, TypeAlias

import trio

from gossipllm.text.reading.files import source_files
from trust.errors import UserMistake

LOOK_EVERY_S: Final = 30.0
"""Seconds between looks. A look at ten thousand files takes a tenth of a second, in a thread. Guess."""

Looks: TypeAlias = tuple[tuple[str, int, int], ...]
"""Name, size and time of each file, in order; empty where there are none to be seen."""


async def watch_text(path: str, changed: Callable[[], object]) -> NoReturn:
    """Call `changed` after each change of the files that `path` names."""
    watch = TextWatch(await trio.to_thread.run_sync(looks_of, path))
    while True:
        await trio.sleep(LOOK_EVERY_S)
        if watch.is_over(await trio.to_thread.run_sync(looks_of, path)):
            changed()


class TextWatch:
    """Tells a change once, when it is over: when two looks in a row find the same files, and others than when
    the last change was told. Files that cannot be looked at are no change."""

    def __init__(self, looks: Looks) -> None:
        self._told: Looks = looks
        self._last: Looks = looks

    def is_over(self, looks: Looks) -> bool:
        over = bool(looks) and looks == self._last and looks != self._told
        if over:
            self._told = looks
        self._last = looks
        return over


def looks_of(path: str) -> Looks:
    try:
        found = [(file, file.stat()) for file in source_files(path)]
    except (UserMistake, OSError):
        return ()
    return tuple((str(file), stat.st_size, stat.st_mtime_ns) for file, stat in found)
