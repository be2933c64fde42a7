"""The table of gains over the best local: who stops where, and what stands in a row."""

from __future__ import annotations

import msgspec

from sim.experiments.measuring.metrics import PeerMetrics, RoundPoint, RunMetrics, StateMetrics
from sim.experiments.scenarios import Scenario
from tests.support.benchmark_scripts import load


def run(method: str, *perplexities: float, best: int) -> RunMetrics:
    """A run of one peer that has these perplexities after its rounds, and its best trust loss after round `best`."""
    peer = PeerMetrics(
        name="peer-0",
        category="fr",
        device="",
        targets=100,
        rounds=len(perplexities),
        base=100.0,
        before=perplexities[-1],
        after=perplexities[-1],
        row=(1.0,),
        divergence=0.0,
        correlation=None,
        same=1.0,
        effective=1.0,
        guard="",
        sent={},
        received={},
        best=StateMetrics(
            round=best, merged=False, trust=1.0, test=perplexities[best], windows=(2.0, 2.0, 2.1)
        ),
        course=tuple(
            RoundPoint(
                round=number,
                trust_alone=1.0 if number == best else 2.0,
                trust_merged=2.0,
                before=perplexity,
                after=perplexity,
                tokens=1000 * (number + 1),
                sent=0,
                seconds=1.0,
            )
            for number, perplexity in enumerate(perplexities)
        ),
    )
    return RunMetrics(
        method=method,
        seed=0,
        finished=True,
        virtual_s=1.0,
        trace="",
        oracle=((1.0,),),
        peers=(peer,),
        curve=(),
        forward={"train": 3000, "trust": 1000, "test": 5000},
        backward={"train": 3000},
    )


LOCAL = run("local", 30.0, 20.0, 25.0, best=1)
TRUST = run("local+trust", 29.0, 19.0, 10.0, best=2)
S3 = run("s3", 28.0, 18.0, 16.0, best=2)


def test_who_trains_on_the_trust_split_stops_where_training_without_it_stopped() -> None:
    (state,) = load("honest_pages").stopped_with([TRUST], [LOCAL]).values()
    assert (state.round, state.test) == (1, 19.0)


def test_a_page_compares_every_method_with_the_best_local() -> None:
    module = load("honest_pages")
    runs = {"local": [LOCAL], "local+trust": [TRUST], "s3": [S3]}
    results = module.Results(scenario=Scenario(), rates=dict.fromkeys(runs, 1e-2), runs=runs)
    page = module.page("try", results, lone=("local",))
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in page.splitlines() if "|" in line}
    assert rows["best local"][2] == "20.00"
    assert rows["s3"][2:5] == ["16.00", "16.00", "-20.0 % [-20.0, -20.0]"]
    assert rows["local+trust"][4] == "-5.0 % [-5.0, -5.0]"
    # Its state after two rounds is good enough, but only the third lowers the trust loss.
    assert rows["s3"][9] == "3,000"


def test_compute_counts_tokens_through_the_model_both_ways_without_those_that_only_report() -> None:
    module = load("honest_pages")
    results = module.Results(scenario=Scenario(), rates={"local": 1e-2}, runs={"local": [LOCAL]})
    (row,) = (
        line for line in module.page("try", results, lone=("local",)).splitlines() if "| local |" in line
    )
    assert row.split(" | ")[-1] == "7 |"


def test_the_gap_is_to_the_best_of_all_pooled_training() -> None:
    module = load("honest_pages")
    pooled = run("pooled", 19.0, 18.0, best=1), run("pooled+decay", 12.0, 12.0, best=0)
    runs = {"local": [LOCAL], "s3": [S3], "pooled": [pooled[0]], "pooled+decay": [lower(pooled[1])]}
    results = module.Results(scenario=Scenario(), rates=dict.fromkeys(runs, 1e-2), runs=runs)
    rows = [line.split(" | ") for line in module.page("try", results, lone=("local",)).splitlines()]
    (s3,) = (cells for cells in rows if cells[0] == "| s3")
    assert s3[5].startswith("0.50")


def lower(one: RunMetrics) -> RunMetrics:
    """The same run with a lower trust loss, by which the best is chosen."""
    (peer,) = one.peers
    assert peer.best is not None
    best = msgspec.structs.replace(peer.best, trust=0.5)
    return msgspec.structs.replace(one, peers=(msgspec.structs.replace(peer, best=best),))
