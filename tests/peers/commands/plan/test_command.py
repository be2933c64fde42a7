"""`gossipllm plan` as a user meets it: a measured plan that can be taken, a fleet on paper, one line for mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from gossipllm.base import corpus_file
from gossipllm.config import DataConfig, ModelConfig
from peers.commands.plan.command import plan
from peers.commands.plan.measuring import LINK_BYTES_S, link_of, neighbours_of
from peers.home.config import PeerConfig, load_config
from peers.home.folder import Home
from peers.home.making import make_home
from support.records import entry_of, round_of

FLEET = """\
[work]
tokens = 2_000_000

[[devices]]
name = "phone"
count = 6
tokens_s = 400
watts = 4

[[devices]]
name = "workstation"
flops = 1e12
fixed_s = 0.01
link_kb_s = 10_000
watts = 300
"""


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


def call(*words: object) -> Result:
    return CliRunner().invoke(plan, list(map(str, words)))


def test_a_measured_plan_is_taken_into_the_home_as_it_was_shown(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    data, model = DataConfig(path=str(corpus_file("fr"))), ModelConfig(name="embedded-small", threads=1)
    make_home(home, PeerConfig(data=data, model=model))
    before = home.config.read_text()

    result = call(home.folder, "--seconds", 1, "--apply", "--json")

    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    points = told["measured"]["points"]
    assert len(points) >= 2
    assert all(seconds > 0 for _, seconds in points)
    assert told["plan"]["tokens_s"] > 0
    assert told["energy"]
    config = load_config(home.config)
    assert config.round.steps == told["plan"]["steps"] == told["settings"]["round.steps"]
    assert config.training.batch_windows == told["plan"]["batch_windows"]
    assert config.training.learning_rate == told["plan"]["learning_rate"]
    comments = [line for line in before.splitlines() if line.startswith("#")]
    assert [line for line in home.config.read_text().splitlines() if line.startswith("#")] == comments


def test_a_fleet_is_planned_on_paper(tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text(FLEET)

    lines = call("--devices", file).stdout.splitlines()
    fleet = json.loads(call("--devices", file, "--tokens", 4_000_000, "--json").stdout)["fleet"]

    assert lines[1].startswith("phone")
    assert any("to 2,000,000 tokens" in line for line in lines)
    assert max(map(len, lines)) <= 80
    assert fleet["counts"] == [6, 1]
    assert fleet["tokens"] >= 4_000_000
    phone, workstation = fleet["plans"]
    assert phone["round_s"] == workstation["round_s"]
    assert workstation["steps"] > phone["steps"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--devices", "FILE", "--apply"), "--devices plans on paper"),
        (("--apply",), "--apply needs DIR"),
        (("nowhere",), "nowhere"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, words: tuple[str, ...], why: str) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text(FLEET)
    result = call(*(str(file) if word == "FILE" else word for word in words))
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert why in line


def test_a_fleet_with_a_device_that_nothing_fits_names_it(tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text(FLEET + "memory_mb = 5\n")
    result = call("--devices", file)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert "workstation: no plan fits its memory" in line
    assert "20 MB are missing" in line


def test_a_budget_of_nothing_is_refused() -> None:
    assert call("--tokens", 0).exit_code == 2


def test_the_link_is_known_from_the_fastest_round_of_the_history() -> None:
    entries = [
        entry_of(round_of("a", number, {"b": 0.5}, gather_s=gather_s), received={"blob": received})
        for number, (received, gather_s) in enumerate(
            [(0, 1.0), (400_000, 2.0), (1_000_000, 1.5), (1_000_100, 1e-6)]
        )
    ]
    assert link_of(entries, upload_bytes_s=32e6) == (400_000.0, "the history's fastest round")
    assert link_of(entries, upload_bytes_s=1e5) == (1e5, "network.upload_bytes_s")
    assert link_of([], upload_bytes_s=32e6) == (LINK_BYTES_S, "a guess")
    assert (neighbours_of(entries), neighbours_of([])) == (1, 0)
