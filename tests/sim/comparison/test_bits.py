"""Bits a byte of each peer's text under each peer's model, over seeds."""

from __future__ import annotations

import msgspec

from sim.comparison.bits import bits_between, bits_heads, bits_rows
from sim.experiments.measuring.metrics import PeerMetrics, RunMetrics


def peer(name: str, category: str, device: str, bits: tuple[float, ...]) -> PeerMetrics:
    return PeerMetrics(
        name=name,
        category=category,
        device=device,
        targets=1,
        rounds=1,
        base=None,
        before=None,
        after=None,
        row=(1.0, 0.0),
        divergence=0.0,
        correlation=None,
        same=1.0,
        effective=1.0,
        guard="",
        sent={},
        received={},
        bits=bits,
    )


def run(seed: int, *peers: PeerMetrics) -> RunMetrics:
    return RunMetrics(
        method="local",
        seed=seed,
        finished=True,
        virtual_s=1.0,
        trace="",
        oracle=(),
        peers=peers,
        curve=(),
        forward={},
        backward={},
    )


RUNS = [
    run(
        seed,
        peer("peer-0", "fr", "small", (3.0 + seed, 4.0)),
        peer("peer-1", "en", "large", (2.0, 1.0 + seed)),
    )
    for seed in (0, 1)
]


def test_each_reader_has_a_mean_over_seeds_for_each_text() -> None:
    bits = bits_between(RUNS)

    assert list(bits) == ["0 fr small", "1 en large"]
    assert bits_heads(bits) == ("read by", "0 fr", "1 en")
    assert [cell.plain for cell in bits_rows(bits)[0]] == ["0 fr small", "3.500 ±0.707", "4.000 ±0.000"]
    assert bits["1 en large"]["1 en"].mean == 1.5


def test_a_run_in_which_a_peer_has_no_best_state_counts_for_nothing() -> None:
    without = msgspec.structs.replace(RUNS[1], peers=(RUNS[1].peers[0], peer("peer-1", "en", "large", ())))

    assert bits_between([RUNS[0], without])["0 fr small"]["0 fr"].mean == 3.0
    assert bits_between([without]) == {}
