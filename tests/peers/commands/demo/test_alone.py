"""`peers.commands.demo.alone`: what the demo's peers are held against."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from peers.commands.demo.alone import MORE_ROUNDS, make_lone_peers, make_one_process
from peers.commands.demo.demo_peers import make_demo_peers
from peers.commands.demo.scenarios import SCENARIOS
from peers.home.config import load_config
from trust.inspection.reading.files import history_files


def test_a_demo_is_read_without_its_lone_twins_and_they_are_a_run_of_their_own(tmp_path: Path) -> None:
    peers = make_demo_peers(SCENARIOS["languages"], tmp_path / "demo", peers=2, rounds=5, steps=3, threads=1)
    twins = make_lone_peers(peers, tmp_path / "demo")
    for one in (*peers, *twins):
        one.home.history.write_bytes(b"")
    assert history_files(tmp_path / "demo") == [one.home.history for one in peers]
    assert history_files(tmp_path / "demo/alone") == [twin.home.history for twin in twins]


def test_a_lone_twin_differs_in_nothing_but_its_rounds_and_its_identity(tmp_path: Path) -> None:
    peers = make_demo_peers(SCENARIOS["ranks"], tmp_path / "demo", peers=4, rounds=5, steps=3, threads=1)
    twins = make_lone_peers(peers, tmp_path / "demo")
    for one, twin in zip(peers, twins, strict=True):
        more = replace(one.config.round, rounds=5 * MORE_ROUNDS)
        assert twin.config == replace(one.config, round=more)
        assert load_config(twin.home.config) == twin.config
        assert (twin.name, twin.language) == (one.name, one.language)
        assert twin.peer != one.peer
        assert twin.config.settle.patience, "or it would train past the best that it reaches alone"


def test_one_process_reads_what_all_peers_read_and_takes_their_steps(tmp_path: Path) -> None:
    peers = make_demo_peers(SCENARIOS["pretrain"], tmp_path / "demo", peers=4, rounds=5, steps=3, threads=1)
    one = make_one_process(peers, tmp_path / "demo")
    assert {Path(peer.config.data.path).parent for peer in peers} == {Path(one.config.data.path)}
    assert one.config.round.steps == sum(peer.config.round.steps for peer in peers)
    assert one.config.round.rounds == 5
    assert one.config.training == peers[0].config.training
    assert one.config.model == peers[0].config.model
    assert load_config(one.home.config) == one.config
