"""Peers that pack their updates: what whole learners and cores of a small network send, and that all of it arrives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sim.experiments.run import Outcome, simulate
from sim.experiments.scenario_files import load_scenario
from trust.record.history import Refusal, Round

SMALL = """
peers = 3
methods = ["s3"]
[data]
sources = ["embedded:fr"]
window_tokens = 16
trust_windows = 2
test_windows = 2
[data.partition]
chunk_tokens = 32
train_tokens = 128
trust_tokens = 64
test_tokens = 64
[round]
steps = 2
rounds = 2
barrier = true
patience_s = 60
[training]
batch_windows = 2
warmup_steps = 1
[reference]
windows = 5
window_tokens = 4
"""


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def outcome(folder: Path, packing: str) -> Outcome:
    file = folder / "small.toml"
    file.write_text(SMALL)
    return simulate(load_scenario(str(file), [f'packing="{packing}"']), "s3", 0)


def test_peers_fetch_packed_forms_and_see_as_many_neighbours_as_ever(tmp_path: Path) -> None:
    whole, packed = (outcome(tmp_path, packing) for packing in ("whole", "normal"))
    blobs = [sum(peer.sent["blob"] for peer in one.metrics.peers) for one in (whole, packed)]
    assert blobs[1] < 0.45 * blobs[0]
    seen = [
        [len(entry.record.seen) for entry in one.entries if isinstance(entry.record, Round)]
        for one in (whole, packed)
    ]
    assert seen[0] == seen[1] == [2] * 6
    assert not [entry.record for entry in packed.entries if isinstance(entry.record, Refusal)]
