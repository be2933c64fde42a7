"""Comparison of a trust matrix with a known one."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from support.records import begun_of, entry_of, round_of
from trust.errors import UserMistake
from trust.inspection.reading.summary import Summary, summary
from trust.inspection.show.against import read_oracle, with_comparison
from trust.record.matrix import members
from trust.record.measures import FLOOR

CSV = ",anna,bert,carl\nanna,0.5,0.5,0\nbert,0.25,0.5,0.25\ncarl,0,0,1\n"


def shown() -> Summary:
    names = {"id-a": "anna", "id-b": "bert", "id-c": "carl"}
    records = [
        *(begun_of(peer, name=name) for peer, name in names.items()),
        round_of("id-a", 1, {"id-b": 0.5}),
        round_of("id-b", 1, {"id-a": 0.25, "id-c": 0.25}),
        round_of("id-c", 1, {}),
    ]
    return summary(members(map(entry_of, records)), [])


def against(folder: Path, text: str, name: str = "oracle.csv") -> Summary:
    """The three peers compared with a known matrix, which a file of this text holds."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return with_comparison(shown(), read_oracle(path), path)


def test_a_matrix_has_distance_zero_from_itself(tmp_path: Path) -> None:
    found = against(tmp_path, CSV)
    assert [row.divergence for row in found.rows] == [0.0, 0.0, 0.0]
    # Of bert both neighbours are alike, of carl too: ranks say nothing.
    assert found.rows[0].correlation == pytest.approx(1.0, abs=1e-12)
    assert found.rows[1].correlation is not None
    assert math.isnan(found.rows[1].correlation)
    assert found.against is not None
    assert found.against.frobenius == 0.0
    assert found.against.correlation == pytest.approx(1.0, abs=1e-12)


def test_divergence_and_distance_are_as_defined(tmp_path: Path) -> None:
    found = against(tmp_path, CSV.replace("carl,0,0,1", "carl,0.5,0,0.5"))
    oracle, row = ([(1 - FLOOR) * w + FLOOR / 3 for w in weights] for weights in ((0.5, 0, 0.5), (0, 0, 1)))
    kl = sum(p * math.log(p / q) for p, q in zip(oracle, row, strict=True))
    assert found.rows[2].divergence == pytest.approx(kl, abs=1e-12)
    assert found.against is not None
    assert found.against.divergence == pytest.approx(kl / 3, abs=1e-12)
    assert found.against.frobenius == pytest.approx(math.sqrt(0.5), abs=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + CSV,
        CSV.replace("\n", "\r\n"),
        CSV.replace("anna", "id-a"),
        CSV.replace("0.25,0.5,0.25", " 1, 2, 1"),
        "who,carl,anna,bert\n\ncarl,7,0,0\nanna,0,1,1\nbert,1,1,2\n",
    ],
)
def test_order_ids_scale_and_blanks_do_not_matter(tmp_path: Path, text: str) -> None:
    assert [row.divergence for row in against(tmp_path, text).rows] == pytest.approx([0, 0, 0], abs=1e-12)


def test_a_peer_that_only_the_oracle_has_counts_as_one_without_weight(tmp_path: Path) -> None:
    found = against(
        tmp_path, ",anna,bert,carl,dora\nanna,1,1,0,2\nbert,1,2,1,0\ncarl,0,0,1,0\ndora,0,0,0,1\n"
    )
    assert len(found.peers) == 3
    assert found.rows[0].divergence is not None
    assert found.rows[0].divergence > 0.5
    assert found.rows[1].divergence == pytest.approx(0.0, abs=1e-12)


def test_the_metrics_of_a_simulation_hold_an_oracle(tmp_path: Path) -> None:
    metrics: dict[str, object] = {
        "schema": 2,
        "oracle": [[0.5, 0.5, 0], [0.25, 0.5, 0.25], [0, 0, 1]],
        "peers": [{"name": name, "row": []} for name in ("anna", "bert", "carl")],
    }
    found = against(tmp_path, json.dumps(metrics), "metrics.json")
    assert found.against is not None
    assert found.against.frobenius == 0.0


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "holds no matrix"),
        (",anna\n", "holds no matrix"),
        (CSV.replace("0.25,0.5,0.25", "0.25,much,0.25"), 'line 3, column 3: "much" is no weight'),
        (CSV.replace("0.25,0.5,0.25", "0.25,-1,0.25"), 'line 3, column 3: "-1" is no weight'),
        (CSV.replace("0.25,0.5,0.25", "0.25,nan,0.25"), 'line 3, column 3: "nan" is no weight'),
        (CSV.replace("0.25,0.5,0.25", "0.25,0.5"), "line 3: 3 columns, and the first row has 4"),
        (CSV.replace("0.25,0.5,0.25", "0,0,0"), "line 3: the weights of a row must have a sum above 0"),
        (CSV.replace("bert,0", "carl,0"), 'line 4, column 1: "carl" stands there a second time'),
        (CSV.replace("anna,bert", "anna,"), "line 1, column 3: a peer's name is missing"),
        (CSV.replace("carl,0,0,1\n", ""), "not square: there is no row for carl"),
        (CSV.replace("bert", "bart"), "lacks bert; "),
        (
            ",anna,id-a,bert,carl\n" + "".join(f"{n},1,1,1,1\n" for n in ("anna", "id-a", "bert", "carl")),
            "by id",
        ),
        ('"', "line 1: unexpected end of data"),
        ("{", "is no metrics.json"),
        ('{"oracle": [[1]], "peers": []}', "oracle must have 0 rows"),
        ('{"oracle": [[-1]], "peers": [{"name": "anna"}]}', "oracle[0] must be weights"),
    ],
)
def test_a_bad_file_is_one_line_that_says_where(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(UserMistake) as mistake:
        against(tmp_path, text)
    assert complaint in mistake.value.message
    assert "oracle.csv" in mistake.value.message
    assert "\n" not in mistake.value.message


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserMistake, match="cannot be read"):
        read_oracle(tmp_path / "nowhere.csv")
    (tmp_path / "image.csv").write_bytes(b"\x89PNG")
    with pytest.raises(UserMistake, match="byte 0 is not UTF-8"):
        read_oracle(tmp_path / "image.csv")
