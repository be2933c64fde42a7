"""Tests of the overlap of texts, and of the command `gossipllm data overlap`."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gossipllm import base, cli
from gossipllm.commands.data import data
from gossipllm.text.overlap import as_if_equally_long, between_halves, counts, jaccard, published_overlap

tables = hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 6)), elements=st.integers(0, 50))


@settings(max_examples=50)
@given(tables)
def test_overlap_is_symmetric_between_0_and_1_and_1_of_a_text_with_itself(counts_NV: np.ndarray) -> None:
    overlap = jaccard(counts_NV)

    assert np.array_equal(overlap, overlap.T)
    assert ((overlap >= 0) & (overlap <= 1)).all()
    assert (overlap.diagonal() == 1).all()


def test_overlap_counts_repetitions() -> None:
    one, other = np.array([0, 0, 0, 1]), np.array([0, 1, 1, 2])

    # In common: one 0, one 1. Either: three 0, two 1, one 2.
    assert jaccard(np.stack([counts(one, 3), counts(other, 3)]))[0, 1] == pytest.approx(2 / 6)


def test_a_text_and_its_double_overlap_by_half_or_wholly_if_scaled() -> None:
    text = np.array([3.0, 1.0, 4.0])

    assert jaccard(np.stack([text, 2 * text]))[0, 1] == 0.5
    assert jaccard(as_if_equally_long(np.stack([text, 2 * text])))[0, 1] == 1


def test_the_published_overlap_is_what_both_have_over_the_tokens_of_both_together() -> None:
    one, other = np.array([0, 0, 0, 1]), np.array([0, 1, 1, 2, 2, 2])

    # |A and B| = 2 (one 0, one 1); |A| + |B| = 4 + 6. The ordinary index divides by |A or B| = 8.
    counts_NV = np.stack([counts(one, 3), counts(other, 3)])
    assert published_overlap(counts_NV)[0, 1] == 2 / 10
    assert jaccard(counts_NV)[0, 1] == 2 / 8


@settings(max_examples=50)
@given(tables)
def test_the_published_overlap_is_at_most_one_half_and_orders_texts_as_the_ordinary_index_does(
    counts_NV: np.ndarray,
) -> None:
    published, ordinary = published_overlap(counts_NV), jaccard(counts_NV)

    assert np.array_equal(published, published.T)
    assert ((published >= 0) & (published <= 0.5)).all()
    assert (published.diagonal() == 0.5).all()
    # Rounding of two divisions and a sum.
    assert published == pytest.approx(ordinary / (1 + ordinary), rel=1e-15)


def test_halves_alternate_so_that_a_text_of_two_unlike_parts_has_equal_halves() -> None:
    text = np.repeat(np.arange(2, dtype=np.int32), 1024)

    assert between_halves(text, 2) == 1
    assert between_halves(text, 2, published_overlap) == 0.5
    assert math.isnan(between_halves(text[:511], 2))


@pytest.fixture
def texts(tmp_path: Path) -> list[Path]:
    """Three texts: two in French with different content, as a file and a folder, and one in German, as a .jsonl."""
    french, german = (
        base.corpus_file(name).read_text(encoding="utf-8").splitlines()[:60] for name in ("fr", "de")
    )
    (tmp_path / "amelie.txt").write_text("\n".join(french[0::2]), encoding="utf-8")
    (tmp_path / "basile").mkdir()
    (tmp_path / "basile" / "notes.txt").write_text("\n".join(french[1::2]), encoding="utf-8")
    (tmp_path / "clara.jsonl").write_text("\n".join(json.dumps({"text": line}) for line in german[:30]))
    return [tmp_path / name for name in ("amelie.txt", "basile", "clara.jsonl")]


def overlap(*arguments: object, columns: int = 80) -> Result:
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(
        data, ["overlap", *map(str, arguments)], catch_exceptions=False
    )


def test_texts_in_one_language_overlap_more_than_those_in_two(texts: list[Path]) -> None:
    found = json.loads(overlap(*texts, "--json").stdout)

    matrix = np.array(found["overlap"])
    assert matrix[0, 1] > 1.3 * max(matrix[0, 2], matrix[1, 2])
    assert [text["path"] for text in found["texts"]] == [str(path) for path in texts]
    assert all(0 < text["halves"] < 1 for text in found["texts"])


def test_the_published_overlap_can_be_asked_for(texts: list[Path]) -> None:
    ordinary = json.loads(overlap(*texts, "--json").stdout)
    published = json.loads(overlap(*texts, "--published", "--json").stdout)

    assert (ordinary["measure"], published["measure"]) == ("jaccard", "published")
    index = np.array(ordinary["overlap"])
    assert np.array(published["overlap"]) == pytest.approx(index / (1 + index))
    assert all(text["halves"] < 0.5 for text in published["texts"])
    assert "0.5 for the same tokens" in " ".join(overlap(*texts, "--published").stdout.split())


def test_the_table_fits_eighty_columns_and_says_how_to_read_it(texts: list[Path]) -> None:
    told = overlap(*texts).stdout

    assert max(map(len, told.splitlines())) <= 80
    lines = [line.split() for line in told.splitlines()]
    assert ["text", "tokens", "halves", "1", "2", "3"] in lines
    assert next(line for line in lines if line[:2] == ["2", "basile"])[5] == "·"
    assert "0 for none in common" in " ".join(told.split())


def test_many_texts_come_in_blocks_of_columns(texts: list[Path]) -> None:
    told = overlap(*texts[:2] * 8, columns=60).stdout

    assert max(map(len, told.splitlines())) <= 60
    assert sum(line.startswith("text") for line in told.splitlines()) == 4
    assert "16 basile" in told


def test_texts_of_unequal_length_get_a_note_about_equal(texts: list[Path], tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text(texts[0].read_text(encoding="utf-8")[:2000], encoding="utf-8")

    assert "add --equal" in " ".join(overlap(texts[0], tmp_path / "short.txt").stdout.split())
    assert "scaled to the shortest" in overlap(texts[0], tmp_path / "short.txt", "--equal").stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["only.txt"], "give two paths or more"),
        (["none.txt", "gone.txt"], "PATH: there is no file or folder none.txt"),
        (["a.txt", "b.txt", "--model", "./nowhere"], "--model: there is no folder ./nowhere"),
    ],
)
def test_a_user_error_ends_with_one_line_and_exit_code_2(
    arguments: list[str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gossipllm", "data", "overlap", *arguments])

    with pytest.raises(SystemExit) as ended:
        cli.main()

    told: Any = capsys.readouterr()
    assert ended.value.code == 2
    assert told.err.startswith("Error: ")
    assert told.err.count("\n") == 1
    assert says in told.err


def test_help_loads_no_torch() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from gossipllm.cli import root; "
        "assert CliRunner().invoke(root, ['data', 'overlap', '--help']).exit_code == 0; "
        "print({'torch', 'transformers', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "set()"
