"""Changes of a peer's own text are noticed, each of them once, when it has come to an end."""

from __future__ import annotations

from pathlib import Path

import trio
import trio.testing

from peers.run.text_files import Looks, TextWatch, looks_of, watch_text

ONE: Looks = (("a.txt", 1, 1),)
TWO: Looks = (("a.txt", 1, 1), ("b.txt", 1, 2))
MORE: Looks = (("a.txt", 1, 1), ("b.txt", 9, 3))


def test_a_change_is_told_once_when_two_looks_find_the_same() -> None:
    watch = TextWatch(ONE)
    assert [watch.is_over(looks) for looks in (ONE, TWO, MORE, MORE, MORE)] == [
        False,
        False,
        False,
        True,
        False,
    ]


def test_files_that_cannot_be_seen_are_no_change() -> None:
    watch = TextWatch(ONE)
    assert [watch.is_over(looks) for looks in ((), (), ONE, ONE)] == [False] * 4


def test_a_new_file_a_longer_one_and_a_missing_one_look_different(tmp_path: Path) -> None:
    looks = [looks_of(str(tmp_path))]
    (tmp_path / "a.txt").write_text("one")
    looks.append(looks_of(str(tmp_path)))
    (tmp_path / "a.txt").write_text("one and more")
    looks.append(looks_of(str(tmp_path)))
    (tmp_path / "b.txt").write_text("two")
    looks.append(looks_of(str(tmp_path)))
    (tmp_path / ".notes.md").write_text("of no account")
    assert looks[0] == ()
    assert len(set(looks)) == 4
    assert looks_of(str(tmp_path)) == looks[-1]


async def test_a_running_peer_is_told(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    # The clock waits for no thread, and looks are made in threads: it stands still while one may be at work.
    autojump_clock.autojump_threshold = 0.05
    (tmp_path / "a.txt").write_text("one")
    told = trio.Event()
    with trio.fail_after(100_000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch_text, str(tmp_path), told.set)
            # The first look is made in a thread, which no clock waits for: the file grows until that one is behind.
            while not told.is_set():
                with (tmp_path / "a.txt").open("a") as file:
                    file.write("and more")
                await trio.sleep(300)
            nursery.cancel_scope.cancel()
