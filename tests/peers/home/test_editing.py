"""Settings are changed in their lines, and everything else in the file stays as its owner wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peers.home.config import PeerConfig, load_config
from peers.home.editing import change_settings, changed_text
from peers.home.settings import long_toml, short_toml, write_config
from trust.errors import UserMistake

MINE = """\
# my notes
[round]
steps = 20   # as told

[training]
# small machine
batch_windows = 8

# about others
[trust]
strategy = "s3" # steps = 5
"""


def test_a_value_is_replaced_in_its_line_and_its_comment_stays() -> None:
    text = changed_text(MINE, {"round.steps": 92, "training.batch_windows": 2})
    assert text == MINE.replace("steps = 20 ", "steps = 92 ").replace(
        "batch_windows = 8", "batch_windows = 2"
    )


def test_a_new_setting_comes_to_the_end_of_its_table_or_in_a_new_one() -> None:
    text = changed_text(MINE, {"training.learning_rate": 0.004, "model.dtype": "float32"})
    assert "batch_windows = 8\nlearning_rate = 0.004\n\n# about others\n[trust]" in text
    assert text.endswith('strategy = "s3" # steps = 5\n\n[model]\ndtype = "float32"\n')


@given(steps=st.integers(1, 1000), rate=st.floats(1e-6, 1), every=st.booleans())
def test_the_file_then_says_what_was_asked(steps: int, rate: float, every: bool) -> None:
    text = (long_toml if every else short_toml)(PeerConfig())
    once = changed_text(
        text, {"round.steps": steps, "training.learning_rate": rate, "layers.checkpoint": True}
    )
    assert once.count("checkpoint = true") == 1
    assert f"\nsteps = {steps}\n" in once
    assert f"\nlearning_rate = {rate!r}\n" in once
    kept = [line for line in text.splitlines() if line.startswith("#")]
    assert [line for line in once.splitlines() if line.startswith("#")] == kept


def test_a_home_is_changed_and_reads_back(tmp_path: Path) -> None:
    file = tmp_path / "peer.toml"
    write_config(file, PeerConfig())
    change_settings(file, {"round.steps": 92, "training.micro_windows": 1})
    config = load_config(file)
    assert (config.round.steps, config.training.micro_windows) == (92, 1)
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("text", "changes", "why"),
    [
        ("[round]\nsteps = 20\n", {"round.steps": 0}, "steps must be in 1..100000"),
        (
            "round = { steps = 20 }\n",
            {"round.steps": 5},
            "cannot be changed here .*; write round.steps yourself",
        ),
        ("[round]\nsteps = 20\n", {"round.stepz": 5}, "unknown key"),
    ],
)
def test_what_cannot_be_written_leaves_the_file_alone(
    tmp_path: Path, text: str, changes: dict[str, object], why: str
) -> None:
    file = tmp_path / "peer.toml"
    file.write_text(text)
    with pytest.raises(UserMistake, match=why):
        change_settings(file, changes)
    assert file.read_text() == text
