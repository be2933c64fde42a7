"""`gossipllm demo`, whole: four processes, real libp2p, the embedded model, and what comes out."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
from rich.console import Console

from peers.commands.demo.board import DemoPeerRow, board
from peers.commands.demo.demo_peers import NAMES, DemoPeer, make_demo_peers
from peers.commands.demo.scenarios import SCENARIOS
from peers.home.config import load_config
from support.block_contrast import within_over_across
from trust.record.log import read_history

LANGUAGE = {"amelie": "fr", "basile": "fr", "clara": "de", "dirk": "de"}


ROUND: dict[str, object] = {
    "event": "round",
    "round": 0,
    "guard": "taken",
    "settled": False,
    "trust_alone": 4.2,
    "trust_merged": 4.1,
    "test_alone": 4.1,
    "test_merged": 4.0,
    "self_weight": 0.25,
    "seen": [],
    "tokens": 8_064,
    "window": 2,
    "offered": 11,
}


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gossipllm.cli", "demo", "-o", str(folder), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def peers_of(folder: Path) -> list[psutil.Process]:
    """Processes whose command line names the demo's folder."""
    every = psutil.process_iter(["cmdline"])
    return [one for one in every if any(str(folder) in part for part in one.info["cmdline"] or ())]


@pytest.mark.battery
def test_four_peers_find_out_who_reads_their_language(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with start(folder, "--rounds", "3", "--steps", "8") as demo:
        output, _ = demo.communicate(timeout=240)
    assert demo.returncode == 0, output

    shown = subprocess.run(
        [sys.executable, "-m", "gossipllm.cli", "trust", "show", str(folder), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    summary = json.loads(shown.stdout)
    names = [one["name"] for one in summary["peers"]]
    order = [names.index(row["name"]) for row in summary["rows"]]
    matrix = np.array([row["weights"] for row in summary["rows"]])[np.argsort(order)]
    assert sorted(names) == sorted(LANGUAGE)
    assert within_over_across(matrix, [LANGUAGE[name] for name in names]) >= 2

    results = json.loads((folder / "results.json").read_text())
    for peer in results["peers"]:
        assert peer["test_loss"]["together"] < peer["test_loss"]["before"]
        assert peer["test_loss"]["alone"] < peer["test_loss"]["before"]
        assert peer["received_bytes"] > 0
    assert (folder / "trust.png").read_bytes().startswith(b"\x89PNG")
    assert "what to type next" in output
    assert peers_of(folder) == []


@pytest.mark.battery
@pytest.mark.parametrize(
    ("scenario", "options"),
    [
        ("tokens", ["--no-alone"]),
        ("layers", []),
        ("heads", ["--no-alone"]),
        ("ranks", ["--no-alone"]),
        ("sizes", []),
        ("pretrain", []),
    ],
)
def test_each_scenario_comes_to_its_end_and_says_what_to_look_at(
    tmp_path: Path, scenario: str, options: list[str]
) -> None:
    folder = tmp_path / "demo"
    with start(folder, "--scenario", scenario, "--rounds", "2", "--steps", "2", *options) as demo:
        output, _ = demo.communicate(timeout=240)
    assert demo.returncode == 0, output
    assert "what to look at" in output
    results = json.loads((folder / "results.json").read_text())
    assert results["scenario"] == scenario
    for peer in results["peers"]:
        assert peer["particular"]
        assert peer["received_bytes"] > 0
        assert peer["test_loss"]["together"] < peer["test_loss"]["before"]
        assert (peer["test_loss"]["alone"] is None) == bool(options)
    assert peers_of(folder) == []


def cast(scenario: str, folder: Path, peers: int = 4) -> tuple[DemoPeer, ...]:
    return make_demo_peers(SCENARIOS[scenario], folder / scenario, peers=peers, rounds=2, steps=3, threads=1)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_peer_has_a_text_of_its_own_and_a_configuration_that_reads_back(
    tmp_path: Path, scenario: str
) -> None:
    peers_of_demo = cast(scenario, tmp_path)
    assert [one.name for one in peers_of_demo] == list(NAMES)
    texts = [Path(one.config.data.path).read_text(encoding="utf-8") for one in peers_of_demo]
    lines = [set(text.splitlines()) for text in texts]
    assert len(set[str]().union(*lines)) == sum(map(len, lines))
    for one in peers_of_demo:
        assert load_config(one.home.config) == one.config


def test_peers_of_a_scenario_differ_in_what_it_is_about(tmp_path: Path) -> None:
    configs = {name: [one.config for one in cast(name, tmp_path)] for name in SCENARIOS}
    assert [one.adapter.rank for one in configs["ranks"]] == [2, 16, 2, 16]
    assert [one.layers.count for one in configs["layers"]] == [1, 2, 1, 2]
    assert [one.heads.capacity for one in configs["heads"]] == [100, 200, 100, 200]
    assert {one.adapter.train for one in configs["heads"]} == {"heads"}
    assert {one.trust.tokens_power for one in configs["tokens"]} == {1.0}
    models = ["embedded-small", "embedded-small", "embedded", "embedded-1024"]
    assert [one.model.name for one in configs["sizes"]] == models
    assert {one.merge.also for one in configs["sizes"]} == {"distil"}
    sizes = [Path(one.data.path).stat().st_size for one in configs["tokens"]]
    batches = [one.training.batch_windows for one in configs["tokens"]]
    for size, batch in zip(sizes, batches, strict=True):
        assert size / sizes[0] == pytest.approx(batch / batches[0], rel=0.25)


def test_a_pair_is_of_one_language(tmp_path: Path) -> None:
    for scenario in SCENARIOS:
        assert len({one.language for one in cast(scenario, tmp_path, peers=2)}) == 1


@pytest.mark.parametrize(
    ("scenario", "before", "after"),
    [
        ("languages", "", ""),
        ("tokens", "", "8,064"),
        ("layers", "", "3-4"),
        ("heads", "", "11"),
        ("ranks", "16", "16"),
        ("sizes", "small", "small"),
        ("pretrain", "", "8,064"),
    ],
)
def test_the_table_has_a_column_for_what_is_particular(
    tmp_path: Path, scenario: str, before: str, after: str
) -> None:
    chosen = SCENARIOS[scenario]
    peers_of_demo = cast(scenario, tmp_path)
    rows = [
        DemoPeerRow(one.name, one.language, one.peer, 6, partial(chosen.particular, one.config))
        for one in peers_of_demo
    ]
    assert rows[1].particular == before
    for row in rows:
        row.take(json.dumps(ROUND | {"seen": [{"peer": one.peer, "weight": 0.25} for one in peers_of_demo]}))
        row.take(
            json.dumps(
                {
                    "event": "progress",
                    "phase": "training",
                    "step": 8,
                    "steps": 8,
                    "tokens_per_s": 2_345.0,
                    "loss": 5.67,
                }
            )
        )
        row.take(
            json.dumps(
                {"event": "status", "neighbours": 3, "sent": {"x": 9_900_000}, "received": {"x": 9_900_000}}
            )
        )
    assert rows[1].particular == after
    shown = io.StringIO()
    console = Console(file=shown, width=80, highlight=False)
    console.print(board(rows, elapsed_s=1.0, title="gossip", column=chosen.column))
    text = shown.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert f" {chosen.column} " in text


@pytest.mark.battery
def test_peers_of_unequal_models_say_what_they_do_with_each_other(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    # The peer with another tokenizer is the fastest: after three rounds it is done before the others have byte rows.
    with start(folder, "--scenario", "sizes", "--rounds", "9", "--steps", "8", "--no-alone") as demo:
        output, _ = demo.communicate(timeout=240)
    assert demo.returncode == 0, output
    assert "bits a byte on own test text" in output
    peers = {one["name"]: one for one in json.loads((folder / "results.json").read_text())["peers"]}
    assert peers["amelie"]["relations"]["basile"] == "merges"
    assert peers["amelie"]["relations"]["clara"] == "distils"
    assert peers["clara"]["relations"]["amelie"] == "distils"
    assert peers["dirk"]["relations"]["clara"] in ("compares", "distils")
    for one in peers.values():
        assert one["bits_per_byte"]["alone"] is None
        assert 1 < one["bits_per_byte"]["together"] < one["bits_per_byte"]["before"] < 8
        assert len(one["relations"]) == 3


@pytest.mark.parametrize("phase", ["starting", "training"])
def test_an_interrupt_leaves_no_process_and_no_broken_file(tmp_path: Path, phase: str) -> None:
    folder = tmp_path / "demo"
    with start(folder, "--rounds", "50", "--peers", "2") as demo:
        if phase == "training":
            _wait_for_history(demo, folder)
        else:
            _wait_for_peers(demo, folder)
        demo.send_signal(signal.SIGINT)
        output, _ = demo.communicate(timeout=60)

    assert demo.returncode == 130, output
    assert peers_of(folder) == []
    for history in folder.glob("peers/*/history.msgpack"):
        assert read_history(history).torn == 0


def _wait_for_peers(demo: subprocess.Popen[str], folder: Path) -> None:
    while len(peers_of(folder)) < 2:
        assert demo.poll() is None


def _wait_for_history(demo: subprocess.Popen[str], folder: Path) -> None:
    while not any(path.stat().st_size for path in folder.glob("peers/*/history.msgpack")):
        assert demo.poll() is None
