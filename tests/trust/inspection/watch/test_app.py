"""The live view, tested by pressing keys and reading the screen."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest
from textual.geometry import Size
from textual.pilot import Pilot

from support.records import append_records, make_home, round_of
from support.watching import play, screen_lines
from trust.inspection.watch.app import INTERRUPTED, WatchApp
from trust.record.history import HISTORY_FILE, Note, Refusal


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two peers, and a neighbour that only the first of them knows."""
    folder = tmp_path / "run"
    a = (round_of("id-a", 1, {"id-b": 0.25}), round_of("id-a", 2, {"id-b": 0.375, "id-c": 0.125}))
    make_home(folder / "peers" / "one", "id-a", *a, name="anna")
    make_home(folder / "peers" / "two", "id-b", round_of("id-b", 1, {"id-a": 0.0625}), name="bert")
    return folder


def row(lines: list[str], name: str) -> list[str]:
    """Words of the first line that begins with the name, which is the line of the matrix."""
    return next(line.split() for line in lines if line.startswith(name))


def test_the_matrix_appears_with_the_losses_of_each_row_below(run: Path) -> None:
    async def script(app: WatchApp, pilot: Pilot[None]) -> None:
        lines = screen_lines(app)
        assert lines[1].split() == ["who", "learns", "anna", "bert", "ID-C"]
        assert lines[2].split() == ["anna", "*50", "38", "12"]
        assert lines[3].split() == ["bert", "6", "*94", "·"]
        below = [line.split() for line in lines[4:]]
        assert ["anna", "2", "2.500", "2.250", "2.250", "▄▄", "2.000", "7", "0", "-", "2", "taken"] in below

    play(run, script)


def test_a_new_round_changes_the_cell(run: Path) -> None:
    async def script(app: WatchApp, pilot: Pilot[None]) -> None:
        append_records(run / "peers" / "two", "id-b", round_of("id-b", 2, {"id-a": 0.5}))
        app.look()
        await pilot.pause()
        assert row(screen_lines(app), "bert") == ["bert", "50", "*50", "·"]

    play(run, script)


def test_a_home_that_appears_later_gets_a_row(run: Path) -> None:
    async def script(app: WatchApp, pilot: Pilot[None]) -> None:
        make_home(run / "peers" / "zoe", "id-z", round_of("id-z", 1, {}), name="zoe")
        for _ in range(5):
            app.look()
        await pilot.pause()
        assert row(screen_lines(app), "zoe")[3] == "*100"

    play(run, script)


def test_a_frozen_view_does_not_change_says_so_and_misses_no_entries(run: Path) -> None:
    async def script(app: WatchApp, pilot: Pilot[None]) -> None:
        await pilot.press("space")
        append_records(run / "peers" / "two", "id-b", round_of("id-b", 2, {"id-a": 0.5}))
        app.look()
        await pilot.press("j", "s")
        assert "FROZEN" in screen_lines(app)[0]
        assert row(screen_lines(app), "bert") == ["bert", "*94", "6", "·"]
        await pilot.press("space")
        assert "FROZEN" not in screen_lines(app)[0]
        assert row(screen_lines(app), "bert") == ["bert", "50", "*50", "·"]

    play(run, script)


def test_sorting_moves_rows_and_columns_and_the_cursor_with_them(run: Path) -> None:
    async def script(app: WatchApp, pilot: Pilot[None]) -> None:
        await pilot.press("l")
        assert screen_lines(app)[0].endswith("anna ← bert 37.5 %")
        await pilot.press("s")
        lines = screen_lines(app)
        assert "by self weight" in lines[0]
        assert lines[0].endswith("anna ← bert 37.5 %")
        assert lines[1].split()[2:] == ["bert", "anna", "ID-C"]
        assert [line.split()[0] for line in lines[2:4]] == ["bert", "anna"]
        await pilot.press("s", "s")
        assert "by cluster" in screen_lines(app)[0]
        await pilot.press("s")
        assert screen_lines(app)[1:4] == play_order

    play_order: list[str] = []

    async def first(app: WatchApp, pilot: Pilot[None]) -> None:
        play_order.extend(screen_lines(app)[1:4])

    play(run, first)
    play(run, script)


def test_arrows_and_letters_move_within_the_matrix(run: Path) -> None:
    async def script(app: WatchApp, pilot: Pilot[None]) -> None:
        for keys, cell in (
            ("h k", "anna ← anna 50.0 %"),
            ("l down", "bert ← bert 93.8 %"),
            ("right right j", "bert ← ID-C not seen"),
            ("g left", "anna ← bert 37.5 %"),
            ("G up", "anna ← bert 37.5 %"),
        ):
            await pilot.press(*keys.split())
            assert screen_lines(app)[0].endswith(cell)

    play(run, script)


def test_enter_opens_the_cell_and_escape_closes_it(run: Path) -> None:
    append_records(
        run / "peers" / "one", "id-a", Refusal(peer="id-a", about="id-b", field="adapter", why="out of date")
    )

    async def script(app: WatchApp, pilot: Pilot[None]) -> None:
        await pilot.press("l", "enter")
        page = "\n".join(screen_lines(app))
        assert "anna learns from bert" in page
        assert "round 1 to 2" in page
        assert "37.5 % in round 2" in page
        assert "distance 0.5 ± 0.1, 1 of 2 from the closest" in page
        assert "round 2 of bert, which came 0 rounds ago" in page
        assert "bert says 1,000 tokens, 0 samples" in page
        assert "guard: taken; trust loss 2.500 -> 2.250" in page
        assert "temperature 0.5, of 2 rows tried" in page
        assert "refused once" in page
        assert "adapter: out of date" in page
        await pilot.press("escape")
        assert screen_lines(app)[2].split() == ["anna", "*50", "38", "12"]

    play(run, script)


def test_an_open_cell_page_is_updated_by_new_rounds(run: Path) -> None:
    async def script(app: WatchApp, pilot: Pilot[None]) -> None:
        await pilot.press("enter")
        assert "50.0 % in round 2, with 2 neighbours seen" in "\n".join(screen_lines(app))
        append_records(run / "peers" / "one", "id-a", round_of("id-a", 3, {}))
        app.look()
        await pilot.pause()
        assert "100.0 % in round 3, with 0 neighbours seen" in "\n".join(screen_lines(app))

    play(run, script)


def test_an_open_cell_page_survives_the_removal_of_its_peer(tmp_path: Path, run: Path) -> None:
    """The file of the peer is replaced by that of another peer."""
    other = make_home(tmp_path / "other", "id-z", round_of("id-z", 0, {}))

    async def script(app: WatchApp, pilot: Pilot[None]) -> None:
        await pilot.press("enter")
        (other / HISTORY_FILE).replace(run / "peers" / "one" / HISTORY_FILE)
        app.look()
        await pilot.pause()
        assert "Nothing is known of ID-A any more." in "\n".join(screen_lines(app))

    play(run, script)


def test_the_page_of_an_unseen_neighbour_says_when_it_was_last_seen(run: Path) -> None:
    append_records(run / "peers" / "one", "id-a", round_of("id-a", 3, {"id-b": 0.5}))

    async def script(app: WatchApp, pilot: Pilot[None]) -> None:
        # A peer that no latest row mentions has no column; anna mentions bert, so bert has one.
        await pilot.press("l", "j", "h", "enter")
        assert "bert learns from anna" in "\n".join(screen_lines(app))
        await pilot.press("escape", "k", "l", "enter")
        append_records(run / "peers" / "one", "id-a", round_of("id-a", 4, {}))
        app.look()
        await pilot.pause()
        assert "not seen in round 4, last in round 3" in "\n".join(screen_lines(app))

    play(run, script)


def test_refusals_and_notes_are_listed(run: Path) -> None:
    append_records(run / "peers" / "two", "id-b", Note(peer="id-b", level="warning", text="a link came back"))
    append_records(
        run / "peers" / "two", "id-b", Refusal(peer="id-b", about="id-a", field="logits", why="too few")
    )

    async def script(app: WatchApp, pilot: Pilot[None]) -> None:
        assert any(line.endswith("bert refused anna: logits: too few") for line in screen_lines(app))
        await pilot.press("r")
        page = "\n".join(screen_lines(app))
        assert "1 refusals in all" in page
        assert "bert a link came back" in page
        await pilot.press("escape", "b")
        assert row(screen_lines(app), "sent/recv") == ["sent/recv", "all", "blob"]
        await pilot.press("b", "question_mark")
        assert "freeze" in "\n".join(screen_lines(app))

    play(run, script)


def test_hostile_names_are_shown_harmlessly(tmp_path: Path) -> None:
    name = "[red]x[/]\x1b]0;y\x07\u202e[@click=app.quit]z"
    home = make_home(
        tmp_path / "a", "id-a", round_of("id-a", 1, {"id-b": 0.5}, names={"id-b": name}), name=name
    )
    append_records(
        home, "id-a", Refusal(peer="id-a", about="[/]\x1b[2J", field="[bold]", why="[/red]\x9b31m")
    )

    async def script(app: WatchApp, pilot: Pilot[None]) -> None:
        await pilot.press("l")
        for keys in ((), ("enter",), ("escape", "r"), ("escape", "b")):
            await pilot.press(*keys)
            text = "\n".join(screen_lines(app))
            assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(text)
            assert "[red]x" in text or "[/red]" in text

    play(tmp_path, script)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e308, 5e-324])
def test_hostile_numbers_are_shown_harmlessly(tmp_path: Path, value: float) -> None:
    losses = dict.fromkeys(("train_loss", "trust_alone", "trust_merged", "test_alone", "test_merged"), value)
    for peer in ("id-a", "id-b", "id-c"):
        fine = round_of(peer, 1, {"id-a": 0.5, "id-d": 0.25})
        odd = round_of(peer, 2, {"id-a": value, "id-d": -1.0})
        odd = msgspec.structs.replace(odd, self_weight=value, temperature=value, train_s=value, **losses)
        home = make_home(tmp_path / peer, peer, fine)
        append_records(home, peer, odd, at_s=value)

    async def script(app: WatchApp, pilot: Pilot[None]) -> None:
        for key in ("enter", "escape", "s", "s", "s", "l", "enter", "escape", "b", "r"):
            await pilot.press(key)
        await pilot.press("escape")
        assert "ID-A" in "\n".join(screen_lines(app))

    play(tmp_path, script)


def test_wide_letters_do_not_shift_the_columns(tmp_path: Path) -> None:
    make_home(
        tmp_path / "a", "id-a", round_of("id-a", 1, {"id-b": 0.5}, names={"id-b": "b"}), name="漢字名前"
    )

    async def script(app: WatchApp, pilot: Pilot[None]) -> None:
        from rich.cells import cell_len

        lines = [strip.text for strip in app.screen._compositor.render_strips()]
        assert {cell_len(line) for line in lines} == {80}

    play(tmp_path, script)


def test_the_view_waits_while_no_peer_has_finished_a_round(
    tmp_path: Path,
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "peer.toml").touch()

    async def script(app: WatchApp, pilot: Pilot[None]) -> None:
        assert any("No peer has finished a round yet" in line for line in screen_lines(app))
        await pilot.press("j", "enter", "s", "b", "r", "escape")
        append_records(tmp_path / "a", "id-a", round_of("id-a", 1, {}))
        for _ in range(5):
            app.look()
        await pilot.pause()
        assert any("*100" in line for line in screen_lines(app))

    play(tmp_path, script)


def test_a_terminal_that_is_too_small_says_what_is_needed_until_it_is_larger(run: Path) -> None:
    async def script(app: WatchApp, pilot: Pilot[None]) -> None:
        assert [line for line in screen_lines(app) if line] == ["Too small: needs 60x16, has 50x12."]
        await pilot.press("enter", "escape", "j")
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert screen_lines(app)[2].split() == ["anna", "*50", "38", "12"]
        await pilot.press("enter")
        await pilot.resize_terminal(59, 24)
        await pilot.pause()
        assert screen_lines(app)[0] == "Too small: needs 60x16, has 59x24."
        await pilot.resize_terminal(60, 16)
        await pilot.pause()
        assert "anna keeps of its own" in "\n".join(screen_lines(app))
        assert app.size == Size(60, 16)

    play(run, script, (50, 12))


def test_many_peers_scroll_while_the_head_stays_in_place(tmp_path: Path) -> None:
    peers = [f"peer-{number}" for number in range(30)]
    for peer in peers:
        weights = {other: 0.01 for other in peers if other != peer}
        make_home(tmp_path / peer, peer, round_of(peer, 1, weights), name=peer)

    async def script(app: WatchApp, pilot: Pilot[None]) -> None:
        assert screen_lines(app)[1].split()[:2] == ["more", "↓→"]
        await pilot.press("G", *(["l"] * 29))
        lines = screen_lines(app)
        assert lines[0].endswith("peer-29 ← peer-29 71.0 %")
        assert lines[1].split()[:2] == ["more", "←↑"]
        assert lines[1].split()[-1] == "30"
        assert sum("peer-29 " in line for line in lines) == 3  # the status, its row, and what it did
        assert any(line.startswith("30 peer-29") and line.endswith("*71") for line in lines)

    play(tmp_path, script)


def test_only_lines_that_changed_are_drawn_again(run: Path) -> None:
    drawn: list[int] = []

    async def script(app: WatchApp, pilot: Pilot[None]) -> None:
        await pilot.pause()
        sheet = app.query_one("#matrix")
        really = sheet.render_line
        sheet.render_line = lambda y: drawn.append(y) or really(y)
        # The greatest weight of all stays what it was, and with it all colours.
        append_records(run / "peers" / "one", "id-a", round_of("id-a", 3, {"id-b": 0.25, "id-c": 0.125}))
        app.look()
        await pilot.pause()

    play(run, script)
    assert set(drawn) == {1}


def test_a_torn_file_is_reported_in_the_log(run: Path) -> None:
    with (run / "peers" / "two" / HISTORY_FILE).open("ab") as end:
        end.write(b"nonsense")

    async def script(app: WatchApp, pilot: Pilot[None]) -> None:
        for _ in range(4):
            app.look()
        await pilot.pause()
        assert any("not read from byte" in line for line in screen_lines(app))

    play(run, script)


@pytest.mark.parametrize(("key", "code"), [("q", 0), ("ctrl+c", INTERRUPTED)])
def test_q_and_ctrl_c_quit_from_every_screen(run: Path, key: str, code: int) -> None:
    left: list[int | None] = []

    async def script(app: WatchApp, pilot: Pilot[None]) -> None:
        await pilot.press("enter", key)
        await pilot.pause()
        left.append(app.return_code)

    play(run, script)
    assert left == [code]
