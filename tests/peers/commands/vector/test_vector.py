"""`vector` as a user meets it: homes and PEFT folders alike, and what it writes opens in PEFT and transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from click.testing import CliRunner, Result

from gossipllm.cli import root
from gossipllm.model.adapter.peft_folder import BASE_KEY, CONFIG, TENSORS, read_peft


def vector(*arguments: object) -> Result:
    return CliRunner().invoke(root, ["vector", *map(str, arguments)])


def refused(*arguments: object) -> str:
    """The one line by which the command refuses."""
    done = vector(*arguments)
    assert done.exit_code == 2, done.output
    (line,) = done.output.splitlines()
    return line


@pytest.fixture
def folder(trained_home: Path, tmp_path: Path) -> Path:
    """What the peer of `trained_home` exports."""
    out = tmp_path / "exported"
    done = CliRunner().invoke(root, ["export", str(trained_home), "-o", str(out)])
    assert done.exit_code == 0, done.output
    return out


def test_a_home_and_its_export_are_one_vector(trained_home: Path, folder: Path) -> None:
    done = vector("compare", trained_home, folder, "--json")

    found = json.loads(done.output)
    assert found["cosines"][0][1] == pytest.approx(1.0, abs=1e-6)
    assert found["vectors"][0]["norm"] == pytest.approx(found["vectors"][1]["norm"], rel=1e-6)
    assert found["vectors"][0]["norm"] > 0


def test_the_table_names_each_vector_and_hides_the_diagonal(trained_home: Path, folder: Path) -> None:
    done = vector("compare", trained_home, folder)

    rows = [line.split() for line in done.output.splitlines() if line[:1].isdigit()]
    assert [row[1] for row in rows] == ["home", "exported"]
    assert [row[-2:] for row in rows] == [["·", "1.00"], ["1.00", "·"]]


def test_a_vector_and_its_opposite_add_up_to_nothing(folder: Path, tmp_path: Path) -> None:
    turned, nothing = tmp_path / "turned", tmp_path / "nothing"

    assert vector("negate", folder, "-o", turned).exit_code == 0
    compared = json.loads(vector("compare", folder, turned, "--json").output)
    assert compared["cosines"][0][1] == pytest.approx(-1.0, abs=1e-5)
    assert vector("combine", folder, turned, "-o", nothing).exit_code == 0
    norms = [
        one["norm"] for one in json.loads(vector("compare", folder, nothing, "--json").output)["vectors"]
    ]
    assert norms[1] < 1e-4 * norms[0]


def test_peft_and_the_applied_model_compute_the_same(
    trained_home: Path, folder: Path, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from gossipllm.base import model_folder

    half, model = tmp_path / "half", tmp_path / "model"
    assert vector("combine", folder, trained_home, "--weights", "1,-0.5", "-o", half).exit_code == 0
    done = vector("apply", half, "--base", "embedded", "--weight", 2, "-o", model)
    assert done.exit_code == 0, done.output

    auto: Any = AutoModelForCausalLM
    base: Any = auto.from_pretrained(model_folder(), dtype=torch.float32)
    tokens = torch.arange(24).reshape(1, 24)
    with torch.no_grad():
        plain = base(tokens).logits
        adapted: Any = cast("Any", PeftModel).from_pretrained(base, folder)
        expected = adapted(tokens).logits
        got = auto.from_pretrained(model)(tokens).logits
    assert (expected - plain).abs().max() > 1e-3
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)


def test_a_written_vector_keeps_the_fingerprint_of_its_base(folder: Path, tmp_path: Path) -> None:
    assert vector("negate", folder, "-o", tmp_path / "out").exit_code == 0

    kept = [read_peft(one, "VECTOR").fingerprint for one in (folder, tmp_path / "out")]
    assert kept[0] == kept[1] != b""


def test_vectors_of_different_bases_are_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert vector("negate", folder, "-o", other).exit_code == 0
    path = other / TENSORS
    path.write_bytes(path.read_bytes().replace(*_first_digit_of_fingerprint(path)))

    assert "different bases" in refused("combine", folder, other, "-o", tmp_path / "sum")
    assert not (tmp_path / "sum").exists()


def test_a_base_that_is_not_the_vectors_is_refused(folder: Path, tmp_path: Path) -> None:
    path = folder / TENSORS
    path.write_bytes(path.read_bytes().replace(*_first_digit_of_fingerprint(path)))

    assert "fingerprint" in refused("apply", folder, "--base", "embedded", "-o", tmp_path / "model")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--weights", "1"], "1 numbers for 2 vectors"),
        (["--weights", "1,x"], "must be numbers"),
        (["--weights", "0,0"], "not all 0"),
        (["--weights", "nan,1"], "finite"),
        (["--rank", "0"], "--rank"),
        (["--rank", "many"], "--rank"),
        (["--scale", "inf"], "--scale"),
    ],
)
def test_a_wrong_number_is_named(folder: Path, tmp_path: Path, arguments: list[str], named: str) -> None:
    assert named in refused("combine", folder, folder, "-o", tmp_path / "out", *arguments)


def test_what_is_no_vector_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "new" / "state").mkdir(parents=True)

    assert "neither a PEFT folder" in refused("compare", folder, tmp_path / "empty")
    assert "nothing yet" in refused("compare", folder, tmp_path / "new")
    assert "two vectors" in refused("compare", folder)


def test_a_folder_that_is_not_empty_is_kept_unless_forced(folder: Path) -> None:
    before = (folder / CONFIG).read_bytes()

    assert "--force" in refused("negate", folder, "-o", folder)
    assert (folder / CONFIG).read_bytes() == before
    assert vector("negate", folder, "-o", folder, "--force").exit_code == 0


def test_without_a_base_the_user_is_asked_for_one(folder: Path, tmp_path: Path) -> None:
    assert "--base" in refused("apply", folder, "-o", tmp_path / "model")


def _first_digit_of_fingerprint(path: Path) -> tuple[bytes, bytes]:
    data = path.read_bytes()
    at = data.index(BASE_KEY.encode()) + len(BASE_KEY) + 3
    digits = data[at : at + 8]
    return digits, (b"0" if digits[:1] != b"0" else b"1") + digits[1:]


@pytest.mark.parametrize("way", ["ridge", "svd"])
def test_a_projected_vector_opens_in_peft_on_the_larger_model(folder: Path, tmp_path: Path, way: str) -> None:
    out, text = tmp_path / "onto", tmp_path / "text.txt"
    text.write_text("".join(f"Line {n} of {n * n} says what the one before it said.\n" for n in range(60)))
    given = ("--text", text) if way == "ridge" else ()

    done = vector("project", folder, "-b", "embedded", "--onto", "embedded", "--way", way, *given, "-o", out)

    assert done.exit_code == 0, done.output
    assert ("explained of held-out text" in done.output) == (way == "ridge")
    assert "rank 8 on 28 layers of embedded" in done.output
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from gossipllm.base import model_folder

    adapted = cast("Any", PeftModel).from_pretrained(
        cast("Any", AutoModelForCausalLM).from_pretrained(model_folder()), out
    )
    ids = torch.arange(5, 25)[None]
    with torch.no_grad(), adapted.disable_adapter():
        before = adapted(input_ids=ids).logits
    with torch.no_grad():
        assert not torch.allclose(adapted(input_ids=ids).logits, before, atol=1e-3)


@pytest.mark.battery
def test_steps_that_a_text_chooses_are_shown_by_kind_of_layer(folder: Path, tmp_path: Path) -> None:
    out, trust = tmp_path / "onto", tmp_path / "trust.txt"
    trust.write_text("".join(f"Line {n} of {n * n} says what the one before it said.\n" for n in range(99)))
    onto = ("-b", "embedded", "--onto", "embedded", "--way", "svd", "-o", out)

    done = vector("project", folder, *onto, "--eta", "auto", "--trust", trust)

    assert "together on text that chose nothing" in done.output
    steps = [line.split()[-2] for line in done.output.splitlines() if line.startswith("  ")]
    assert len(steps) == 7
    # Without any step that helps, nothing is written.
    assert (done.exit_code == 0) == any(map(float, steps)) == out.exists()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--eta", "0"), "--eta must be finite and not 0, got 0.0"),
        (("--weights", "-1"), "--weights must not be below 0 here, got '-1'"),
        (("--eta", "long"), "--eta must be a number, or \"auto\", got 'long'"),
        (("--eta", "auto"), "--eta auto chooses steps on --trust FILE: give both, or neither"),
        (("--trust", "t.txt"), "--eta auto chooses steps on --trust FILE: give both, or neither"),
        (("--eta", "auto", "--trust", "none.txt"), "none.txt"),
        (("--way", "svd", "--text", "t.txt"), "--text is for --way ridge; svd takes none"),
        (("--text", "missing.txt"), "missing.txt"),
        (("--onto", "nowhere/at/all"), "nowhere/at/all"),
    ],
)
def test_a_projection_that_cannot_be_is_refused_in_one_line(
    folder: Path, tmp_path: Path, more: tuple[str, ...], says: str
) -> None:
    out = tmp_path / "onto"

    assert says in refused("project", folder, "-b", "embedded", "--onto", "embedded", "-o", out, *more)
    assert not out.exists()
