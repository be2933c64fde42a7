"""The table that compares methods: paired differences, means, and a width that fits a terminal."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console

from sim.comparison.plots import draw
from sim.comparison.summary import Comparison, compared
from sim.comparison.tables import markdown, print_comparison
from sim.experiments.measuring.metrics import RunMetrics, StateMetrics
from sim.experiments.measuring.peer_ends import PeerEnd, run_metrics
from trust.record.history import Round, Seen

ORACLE = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
KINDS = ("fr", "fr", "de")


def record(peer: int, row: list[float], *, before: float, after: float, number: int = 0) -> Round:
    """A record of a round; `before` and `after` are perplexities, not losses."""
    seen = tuple(
        Seen(peer=f"p{j}", name="", its_round=0, age=0, distance=0, error=0, weight=weight, tokens=1)
        for j, weight in enumerate(row)
        if j != peer
    )
    return Round(
        peer=f"p{peer}",
        round=number,
        self_weight=row[peer],
        seen=seen,
        train_loss=1,
        trust_alone=1,
        trust_merged=1,
        test_alone=math.log(before),
        test_merged=math.log(after),
        temperature=None,
        tried=(),
        guard="taken",
        tokens=1,
        samples=1,
        steps=1,
        train_s=0,
        gather_s=0,
        merge_s=0,
        discarded=0,
    )


def run(
    method: str,
    seed: int,
    after: list[float],
    rows: list[list[float]] | None = None,
    *,
    finished: bool = True,
    devices: Sequence[str] = ("", "", ""),
    best: Sequence[float] = (),
) -> RunMetrics:
    rows = np.eye(3).tolist() if rows is None else rows
    ends = [
        PeerEnd(
            peer=f"p{i}",
            name=f"peer-{i}",
            category=KINDS[i],
            device=devices[i],
            targets=(1, 1, 2)[i],
            base_loss=math.log(100),
            rounds=(record(i, rows[i], before=after[i] + 1, after=after[i]),),
            sent={"blob": 1000},
            received={},
            at=((3.0, 1000),),
            best=StateMetrics(round=i, merged=False, trust=1.0, test=best[i], windows=(0.0, 0.0))
            if best
            else None,
        )
        for i in range(3)
    ]
    return run_metrics(
        ends,
        ORACLE,
        method=method,
        seed=seed,
        finished=finished,
        virtual_s=3.0,
        trace="00",
        forward={"train": 300, "test": 3000},
        backward={"train": 300},
    )


def table(*runs: RunMetrics) -> Comparison:
    about = dict.fromkeys((one.method for one in runs), "what it does")
    return compared(runs, scenario="try", peers=3, rounds=1, about=about)


def printed(comparison: Comparison, width: int) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False)
    print_comparison(comparison, {}, console)
    return out.getvalue()


TWO_SEEDS = (
    run("local", 0, [10.0, 20.0, 30.0]),
    run("local", 1, [40.0, 50.0, 60.0]),
    run("s3", 0, [9.0, 18.0, 30.0], ORACLE.tolist()),
    run("s3", 1, [39.0, 47.0, 61.0], ORACLE.tolist()),
)


def test_seeds_differ_widely_and_the_paired_difference_does_not() -> None:
    local, s3 = table(*TWO_SEEDS).methods
    assert local.after.mean == pytest.approx(35)
    assert local.after.std == pytest.approx(30 / math.sqrt(2))
    assert s3.against["local"].mean == pytest.approx(-1)
    assert s3.against["local"].std == pytest.approx(0)
    assert s3.against.keys() == {"local"}


def test_virtual_energy_has_a_column_where_watts_are_declared() -> None:
    local, s3 = TWO_SEEDS[0], TWO_SEEDS[2]
    costly = msgspec.structs.replace(
        s3,
        peers=tuple(
            msgspec.structs.replace(one, joules=joules)
            for one, joules in zip(s3.peers, (30.0, 60.0, 90.0), strict=True)
        ),
    )
    assert table(local, costly).methods[1].joules == 60
    assert " J " in printed(table(local, costly), 80)
    assert " J " not in printed(table(local, s3), 80)
    assert b"joules" not in msgspec.json.encode(table(local, s3))
    assert max(map(len, printed(table(local, costly), 80).splitlines())) <= 80


def test_the_worst_peer_is_the_one_with_the_worst_difference_from_training_alone() -> None:
    local, s3 = table(*TWO_SEEDS).methods
    assert s3.worst is not None
    assert s3.worst.mean == pytest.approx((0.0 + 1.0) / 2)
    assert local.worst is None


def test_a_method_is_compared_on_common_seeds_only() -> None:
    comparison = table(run("local", 0, [10.0] * 3), run("s3", 0, [9.0] * 3), run("s3", 1, [500.0] * 3))
    assert comparison.methods[1].against["local"].mean == pytest.approx(-1)
    assert comparison.methods[1].against["local"].n == 1
    assert comparison.methods[1].against["local"].std is None


def test_rows_equal_to_the_theoretical_ones_have_no_divergence_and_self_rows_have_much() -> None:
    local, s3 = table(*TWO_SEEDS).methods
    assert s3.divergence.mean < 0.02 < 1 < local.divergence.mean
    assert s3.correlation is not None
    assert s3.correlation.mean == pytest.approx(1)
    assert local.correlation is None
    assert (local.same.mean, s3.same.mean) == (1, 1)
    assert s3.effective.mean == pytest.approx((2 + 2 + 1) / 3)


def test_costs_are_of_one_peer_and_one_round_and_reports_are_free() -> None:
    (local,) = table(run("local", 0, [10.0] * 3)).methods
    assert local.sent_bytes == 1000
    assert (local.forward_tokens, local.backward_tokens) == (100, 100)


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_tables_fit_the_terminal_with_the_longest_names_and_numbers(width: int) -> None:
    names = ("local", "fedavg", "theoretical", "s3-code+updates")
    runs = [
        run(name, seed, [100.0 * n + 25 * seed * n] * 3) for n, name in enumerate(names, 1) for seed in (0, 1)
    ]
    text = printed(table(*runs), width)
    assert max(map(len, text.splitlines())) <= width
    assert "s3-code+updates" in text
    assert "…" not in text


UNLIKE = ("rank 2", "rank 16", "rank 16")
KINDS_OF_PEERS = (
    run("local", 0, [10.0, 20.0, 30.0], devices=UNLIKE),
    run("local", 1, [40.0, 50.0, 60.0], devices=UNLIKE),
    run("s3", 0, [9.0, 18.0, 30.0], ORACLE.tolist(), devices=UNLIKE),
    run("s3", 1, [39.0, 47.0, 61.0], ORACLE.tolist(), devices=UNLIKE),
)


def test_each_kind_of_peer_is_compared_with_itself_alone() -> None:
    local, s3 = table(*KINDS_OF_PEERS).methods
    assert list(s3.devices) == ["rank 2", "rank 16"]
    assert s3.devices["rank 2"].after.mean == pytest.approx((9 + 39) / 2)
    low, high = (s3.devices[kind].against_local for kind in ("rank 2", "rank 16"))
    assert low is not None
    assert high is not None
    assert low.mean == pytest.approx(-1)
    assert high.mean == pytest.approx((-1 - 1) / 2)
    assert local.devices["rank 16"].against_local is None


def test_pooled_perplexity_weights_peers_by_their_tokens() -> None:
    (local,) = table(run("local", 0, [10.0, 20.0, 30.0])).methods
    assert local.pooled.mean == pytest.approx((10 * 20 * 30**2) ** (1 / 4))


AT_BEST = (
    run("local", 0, [10.0, 20.0, 30.0], best=[9.0, 19.0, 29.0]),
    run("s3", 0, [9.0, 18.0, 27.0], best=[8.0, 17.0, 26.0]),
)


def test_best_states_are_compared_with_those_of_training_alone() -> None:
    local, s3 = (row.at_best for row in table(*AT_BEST).methods)
    assert local is not None
    assert s3 is not None
    assert (local.perplexity.mean, s3.perplexity.mean) == (pytest.approx(19), pytest.approx(17))
    assert s3.against_local is not None
    assert s3.against_local.mean == pytest.approx(-2)
    assert local.against_local is None
    assert s3.rounds.mean == pytest.approx(2)


def test_the_cost_of_a_target_is_known_only_where_the_target_is_reached() -> None:
    # The course has one point, before the merge: s3 is at 19, as training alone at its best, and local at 21.
    local, s3 = (row.at_best for row in table(*AT_BEST).methods)
    assert local is not None
    assert s3 is not None
    assert local.target is None
    assert s3.target is not None
    assert (s3.target.sent, s3.target.seconds) == (1000, 3)


def test_best_states_have_a_table_where_they_are_known() -> None:
    assert "at the best round" not in printed(table(*TWO_SEEDS), 80)
    for width in (80, 120):
        text = printed(table(*AT_BEST), width)
        assert "at the best round" in text
        assert max(map(len, text.splitlines())) <= width
    assert "| s3 | 17.00 | -2.00 | 2.0 |" in markdown(table(*AT_BEST))


def test_kinds_of_peers_have_a_table_where_there_are_several() -> None:
    assert "by kind of peer" not in printed(table(*TWO_SEEDS), 80)
    for width in (80, 120):
        text = printed(table(*KINDS_OF_PEERS), width)
        assert "by kind of peer" in text
        assert "24.00 (-1.00)" in text
        assert max(map(len, text.splitlines())) <= width
    assert "| s3 | 24.00 (-1.00) | 39.00 (-1.00) |" in markdown(table(*KINDS_OF_PEERS))
    assert "pooled" not in markdown(table(*TWO_SEEDS))


def test_an_unfinished_run_is_named() -> None:
    assert "s3" in printed(table(run("s3", 0, [9.0] * 3, finished=False)), 100).splitlines()[-1]
    assert "limit_s" not in printed(table(run("s3", 0, [9.0] * 3)), 100)


def test_markdown_has_a_line_for_each_method_in_both_tables() -> None:
    text = markdown(table(*TWO_SEEDS))
    assert text.count("| s3 |") == text.count("| local |") == 2
    assert "-1.00 ±0.00" in text


def test_pictures_are_drawn_for_few_peers_and_for_many(tmp_path: Path) -> None:
    assert draw(TWO_SEEDS, tmp_path) == ("rows.png", "curves.png", "progress.png")
    names = {file.name for file in tmp_path.glob("*.png")}
    assert names == {"rows.png", "curves.png", "progress.png", "rows-local.png", "rows-s3.png"}
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in tmp_path.glob("*.png"))
