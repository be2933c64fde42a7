"""`gossipllm demo`, whole: four processes, real libp2p, the embedded model, and what comes out."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from trust.log import read_history
from trust.measures import within_over_across

LANGUAGE = {"amelie": "fr", "basile": "fr", "clara": "de", "dirk": "de"}


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gossipllm.cli", "demo", "-o", str(folder), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def peers_of(folder: Path) -> list[psutil.Process]:
    """Processes whose command line names the demo's folder."""
    every = psutil.process_iter(["cmdline"])
    return [one for one in every if any(str(folder) in part for part in one.info["cmdline"] or ())]


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
