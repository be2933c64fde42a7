"""Any file of a home cut or with a bit flipped: the home opens, or one line names the file, and the rest is kept."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from peers.core.saved import Saved
from peers.home.config import load_config
from peers.home.folder import Home
from peers.home.merge_inputs import read_merge_inputs
from peers.home.store import StateStore
from peers.identity import Identity
from peers.net.finding.book_file import read_book
from peers.run.command import RunOptions, _opened
from support.faulty_disk import ERRORS, Fault, FaultyDisk
from support.homes import FILES, full_home
from support.states import state_of
from trust.errors import UserMistake
from trust.inspection.show.latest import read_latest

LAST = 6
"""The newest generation: it begins round 3, and rounds 0 to 2 were announced."""
FLIPS = 25
"""Bits that are flipped in each file, besides those of its first and last bytes."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with one of each file."""
    return full_home(tmp_path_factory.mktemp("whole") / "home", last=LAST)


def opened(home: Home) -> Saved | None:
    """All that a start reads of a home, and what inspection reads of it while it runs. Returns the state."""
    home.check()
    with home.locked():
        home.close_to_others()
        config = load_config(home.config)
        _, store, writer = _opened(home, config, RunOptions())
        with writer:
            saved = store.load().saved
        read_book(home.addresses)
        read_merge_inputs(home.state)
        read_latest([home.folder])
    return saved


def damages(data: bytes, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    cuts = {0, 1, len(data) // 2, len(data) - 1, *(rng.randrange(len(data)) for _ in range(5))}
    for cut in sorted(cuts):
        yield f"cut to {cut}", data[:cut]
    places = {0, 7, 8, 40, len(data) - 1, *(rng.randrange(len(data)) for _ in range(FLIPS))}
    for place in sorted(place for place in places if place < len(data)):
        bit = 1 << rng.randrange(8)
        yield f"bit {bit} of byte {place}", data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]
    yield "zeros", bytes(len(data))


def copied(home: Home, folder: Path) -> Home:
    shutil.rmtree(folder, ignore_errors=True)
    return Home(Path(shutil.copytree(home.folder, folder)))


def test_the_list_of_files_is_complete(whole: Home, tmp_path: Path) -> None:
    home = copied(whole, tmp_path / "home")
    assert opened(home) == state_of(LAST)
    found = {str(path.relative_to(home.folder)) for path in home.folder.rglob("*") if path.is_file()}
    assert found == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_mended_or_named_and_the_rest_is_kept(
    whole: Home, tmp_path: Path, name: str
) -> None:
    data = (whole.folder / name).read_bytes()
    for what, damaged in damages(data, random.Random(name)):
        home = copied(whole, tmp_path / "home")
        before = _contents(home, but=name)
        (home.folder / name).write_bytes(damaged)
        try:
            saved = opened(home)
        except UserMistake as mistake:
            text = str(mistake)
            assert Path(name).name in text or "state" in text, what
            assert "\n" not in text
            assert (home.folder / name).read_bytes() == damaged, "it is left for its owner"
        else:
            assert saved is not None
            # Rounds 0 to 2 were announced: none of them is trained again.
            assert saved.stage == "published" or saved.round > 2, what
            assert saved.stage == "training" or saved == state_of(LAST - 1), what
            assert opened(home) is not None, f"{what}: and again"
        after = _contents(home, but=name)
        changes = {file for file in before if after.get(file) != before[file]}
        assert changes <= _MAY_FOLLOW.get(name, set()), what
    assert Identity.load(whole.identity)


_MAY_FOLLOW: dict[str, set[str]] = {
    "state/state.0": {"state/published"},
    "state/state.1": {"state/published"},
}
"""File -> others that are written when it is damaged. The lock is always."""


def _contents(home: Home, *, but: str) -> dict[str, bytes]:
    return {name: (home.folder / name).read_bytes() for name in FILES if name not in (but, "lock")}


def test_what_is_in_the_way_of_a_file_is_named(whole: Home, tmp_path: Path) -> None:
    """A folder where a file should be, or a link that leads nowhere."""
    for name in FILES:
        for make in (_folder, _dead_link):
            home = copied(whole, tmp_path / "home")
            (home.folder / name).unlink()
            make(home.folder / name)
            told = ""
            try:
                opened(home)
            except UserMistake as mistake:
                told = str(mistake)
            assert "\n" not in told
            assert not told or str(home.folder) in told


def _folder(path: Path) -> None:
    path.mkdir()


def _dead_link(path: Path) -> None:
    path.symlink_to("/nonexistent/nowhere")


@pytest.mark.parametrize(
    "name", ["state/state.0", "state/published", "history.msgpack", "addresses.json", "blocked.json", "lock"]
)
def test_a_home_without_this_file_opens(whole: Home, tmp_path: Path, name: str) -> None:
    home = copied(whole, tmp_path / "home")
    (home.folder / name).unlink()
    assert opened(home) is not None


def test_a_home_without_any_state_that_announced_rounds_is_refused(whole: Home, tmp_path: Path) -> None:
    home = copied(whole, tmp_path / "home")
    for name in ("state.0", "state.1"):
        (home.state / name).unlink()
    with pytest.raises(UserMistake, match="the state files are gone, yet round 2 was announced"):
        StateStore(home.state).load()


@pytest.mark.parametrize("fault", ERRORS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("torn", ["", "history.msgpack", "state/published", "state/state.0"])
def test_a_start_on_a_disk_that_fails_at_any_operation_opens_or_says_why(
    whole: Home, tmp_path: Path, fault: Fault, torn: str
) -> None:
    """With a file that is to be mended, too, and the next start on a good disk finds all that there was."""
    for at in range(1, 40):
        home = copied(whole, tmp_path / "home")
        if torn:
            (home.folder / torn).write_bytes((home.folder / torn).read_bytes()[:-9])
        told = ""
        with FaultyDisk(at, fault) as disk:
            try:
                opened(home)
            except UserMistake as mistake:
                told = str(mistake)
        assert "\n" not in told
        assert not told or str(home.folder) in told
        after = opened(home)
        assert after is not None
        assert after.round > 2 or after.stage == "published"
        if not disk.reached:
            assert not told
            return
    raise AssertionError("the start does not end")
