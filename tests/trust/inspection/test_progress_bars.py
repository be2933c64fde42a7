"""Progress bars over long histories, which are shown only at a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from click.testing import CliRunner, Result

from support.records import make_home, round_of
from trust.cli import trust
from trust.inspection.export import command as exporting
from trust.inspection.reading import files as reading
from trust.inspection.reading import pieces as piecewise
from trust.inspection.reading.pieces import pieces
from trust.progress import progress
from trust.record.log import History, read_history


@pytest.fixture
def home(tmp_path: Path) -> Path:
    rounds = (round_of("a", number, {"b": number / 100}) for number in range(1, 31))
    return make_home(tmp_path / "home", "a", *rounds, name="anna")


@pytest.fixture
def everything_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (reading, exporting):
        monkeypatch.setattr(module, "LONG", 0)


@pytest.fixture
def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes rich take its output for a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")


def call(*arguments: object) -> Result:
    result = CliRunner(env={"COLUMNS": "60"}).invoke(trust, list(map(str, arguments)))
    assert result.exit_code == 0
    return result


@pytest.mark.usefixtures("everything_is_long", "at_a_terminal")
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_long_export_shows_bars_for_reading_and_writing(home: Path, tmp_path: Path, form: str) -> None:
    result = call("export", home, "-o", tmp_path / f"out.{form}")
    assert "reading" in result.stderr
    assert "writing" in result.stderr
    assert "100%" in result.stderr
    assert result.stdout == ""


@pytest.mark.usefixtures("everything_is_long", "at_a_terminal")
def test_what_is_printed_is_not_mixed_with_a_bar(home: Path) -> None:
    assert "writing" not in call("export", home, "-o", "-", "--format", "csv").stderr


@pytest.mark.usefixtures("at_a_terminal")
def test_a_short_history_shows_no_bar(home: Path, tmp_path: Path) -> None:
    assert call("export", home, "-o", tmp_path / "out.csv").stderr == ""


@pytest.mark.usefixtures("everything_is_long")
def test_without_a_terminal_no_bar_is_shown(home: Path, tmp_path: Path) -> None:
    assert call("export", home, "-o", tmp_path / "out.csv").stderr == ""
    assert call("history", home, "anna", "--json").stderr == ""


@pytest.mark.usefixtures("at_a_terminal")
def test_a_bar_fits_sixty_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    with progress("reading", 100, shown=True) as done:
        done(50)
    output = capsys.readouterr().err
    assert "50%" in output
    assert "…" not in output


@pytest.mark.parametrize("torn", [0, 5])
def test_a_history_read_in_pieces_equals_one_read_at_once(
    home: Path, torn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = home / "history.msgpack"
    file.write_bytes(file.read_bytes()[: -torn or None])

    def small_pieces(source: BinaryIO) -> Iterator[History]:
        return pieces(source, piece=2000)

    monkeypatch.setattr(piecewise, "pieces", small_pieces)
    progress_steps: list[int] = []
    found = reading.history_at(file, progress_steps.append)
    assert found == read_history(file)
    assert len(progress_steps) > 2
    assert sum(progress_steps) == found.whole
