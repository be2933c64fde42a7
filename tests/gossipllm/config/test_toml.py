"""Configuration files: strict, helpful, and commented from the source."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipllm.config import DataConfig, LearnerConfig, TrainingConfig
from gossipllm.config.toml import commented_toml, from_mapping, read_toml
from trust.errors import UserMistake


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    words: tuple[str, ...] = ("a",)
    """Some words."""

    rate: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    """What the file is about."""

    name: str = "x"
    """A name. With "quotes"."""

    level: Literal[1, 2] = 1
    share: float | Literal["auto"] = "auto"
    on: bool = False
    inner: Inner = field(default_factory=Inner)
    """The table's comment."""


def test_a_written_configuration_reads_back() -> None:
    config = replace(LearnerConfig(), training=TrainingConfig(learning_rate=1e-5, seed=3), merge="mean")

    assert from_mapping(LearnerConfig, tomllib.loads(commented_toml(config)), "peer.toml") == config


@given(
    name=st.text(),
    words=st.lists(st.text()),
    rate=st.floats(allow_nan=False),
    share=st.floats(allow_nan=False) | st.just("auto"),
)
def test_any_values_read_back(
    name: str, words: list[str], rate: float, share: float | Literal["auto"]
) -> None:
    config = Outer(name=name, on=True, share=share, inner=Inner(words=tuple(words), rate=rate))

    assert from_mapping(Outer, tomllib.loads(commented_toml(config)), "") == config


def test_a_docstring_stands_above_its_key() -> None:
    lines = commented_toml(Outer()).splitlines()

    assert lines[lines.index('name = "x"') - 1] == '# A name. With "quotes".'
    assert lines[lines.index("[inner]") - 1] == "# The table's comment."


def test_every_setting_of_a_learner_is_explained() -> None:
    lines = commented_toml(LearnerConfig()).splitlines()

    bare = [line for above, line in pairwise(lines) if " = " in line and "#" not in (line[:1], above[:1])]
    assert bare == []


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            {"training": {"learning_rat": 1}},
            "peer.toml: training.learning_rat: unknown key, did you mean learning_rate?",
        ),
        ({"training": {"zzz": 1}}, "peer.toml: training.zzz: unknown key, known are batch_windows"),
        ({"model": {"threads": True}}, "peer.toml: model.threads: must be a whole number, got True"),
        ({"model": {"threads": 1.0}}, "peer.toml: model.threads: must be a whole number, got 1.0"),
        ({"model": {"name": 3}}, "peer.toml: model.name: must be text in quotes, got 3"),
        ({"model": {"dtype": "bfloat"}}, 'did you mean "bfloat16"?'),
        ({"model": "embedded"}, "peer.toml: model: must be a table, got 'embedded'"),
        ({"training": {"batch_windows": 0}}, "peer.toml: training: batch_windows must be in 1..4096, got 0"),
        ({"merge": ["svd"]}, '"median", "trimmed", got a list'),
    ],
)
def test_a_wrong_value_is_named_with_what_to_write(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UserMistake) as caught:
        from_mapping(LearnerConfig, values, "peer.toml")

    assert says in str(caught.value)


def test_true_is_not_one() -> None:
    with pytest.raises(UserMistake, match="level: must be one of 1, 2, got True"):
        from_mapping(Outer, {"level": True}, "")


@pytest.mark.parametrize("wrong", ["atuo", True, [0.5]])
def test_a_union_takes_what_any_of_its_types_takes(wrong: object) -> None:
    assert from_mapping(Outer, {"share": 1}, "").share == 1.0
    assert from_mapping(Outer, {"share": "auto"}, "").share == "auto"
    with pytest.raises(UserMistake, match='share: must be a number or "auto", got'):
        from_mapping(Outer, {"share": wrong}, "")


def test_a_whole_number_serves_as_a_number() -> None:
    assert from_mapping(LearnerConfig, {"training": {"clip_norm": 2}}, "").training.clip_norm == 2.0


def test_what_a_file_leaves_out_keeps_its_default(tmp_path: Path) -> None:
    file = tmp_path / "peer.toml"
    file.write_text('[data]\npath = "mine.txt"\n')

    assert read_toml(file, LearnerConfig) == LearnerConfig(data=DataConfig(path="mine.txt"))


@pytest.mark.parametrize(("content", "says"), [("a = ", "no valid TOML"), (None, "cannot be read")])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: str | None, says: str) -> None:
    file = tmp_path / "peer.toml"
    if content is not None:
        file.write_text(content)

    with pytest.raises(UserMistake, match=says):
        read_toml(file, LearnerConfig)
