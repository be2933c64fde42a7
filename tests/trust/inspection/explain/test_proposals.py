"""Proposals of each strategy, from recorded evidence and from evidence that is measured afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from support.toy_networks import WriteRun
from trust.inspection.explain.case import Case, case_of
from trust.inspection.explain.proposals import (
    NOT_MEASURED,
    MeasuredCandidates,
    Proposal,
    proposals,
    rows_of,
    without_entry,
)
from trust.rows.evidence import Distance
from trust.rows.evidence_kinds import Evidence
from trust.rows.rows import TrustConfig


def last(written: WriteRun, **settings: Any) -> Case:
    run = written(TrustConfig(**settings))
    return case_of(run, "p0", "p1", None)


def by_name(proposals_made: tuple[Proposal, ...]) -> dict[tuple[str, str], Proposal]:
    return {(proposal.strategy, proposal.form): proposal for proposal in proposals_made}


def test_strategies_without_evidence_are_known_for_every_round(written: WriteRun) -> None:
    found = by_name(proposals(last(written)))
    count = len(found["uniform", "ours"].candidates[0].row)
    assert found["uniform", "ours"].candidates[0].row == (1 / count,) * count
    assert found["local", "ours"].candidates[0].row == (1.0, *(0.0 for _ in range(count - 1)))
    assert found["fixed", "ours"].why == "no weights are given"
    assert found["weights", "ours"].why == found["learned", "ours"].why == NOT_MEASURED


def test_recorded_evidence_serves_every_strategy_that_needs_only_that_kind(written: WriteRun) -> None:
    found = by_name(proposals(last(written, strategy="product", product_of=("weights", "validation"))))
    known = {name for name, proposal in found.items() if proposal.candidates}
    assert known == {
        ("local", "ours"),
        ("uniform", "ours"),
        ("weights", "ours"),
        ("validation", "ours"),
        ("product", "ours"),
        ("validation", "paper-text"),
    }
    assert [name for name, proposal in found.items() if proposal.in_use] == [("product", "ours")]


def test_evidence_measured_afterwards_gives_the_other_strategies(written: WriteRun) -> None:
    case = last(written)
    peers = [seen.peer for seen in case.record.seen]
    each: dict[Evidence, Distance] = {"weights": Distance(0.5, 0.0), "progress": Distance(-1.0, 0.0)}
    distances = dict.fromkeys(peers, each)
    measured = MeasuredCandidates(
        distances, {"weights": 0.0, "progress": -1.0}, {"logits": "cannot be measured"}
    )
    found = by_name(proposals(case, measured))
    count = len(peers) + 1
    assert found["fomo", "ours"].candidates[0].row == pytest.approx((1 / count,) * count)
    assert found["weights", "ours"].candidates
    assert found["predictions", "paper-text"].why == "cannot be measured"
    assert found["product", "ours"].candidates, "of what was recorded and what was measured"


def test_equal_rows_are_measured_once(written: WriteRun) -> None:
    rows = rows_of(proposals(last(written)))
    assert len(set(rows)) == len(rows)


def test_a_removed_weight_goes_to_the_peer_or_to_the_others_in_proportion() -> None:
    home, spread = without_entry((0.5, 0.25, 0.125, 0.125), 1)
    assert home == (0.75, 0.0, 0.125, 0.125)
    assert spread == (0.5, 0.0, 0.25, 0.25)


def test_the_weight_of_the_only_neighbour_goes_to_the_peer() -> None:
    assert without_entry((0.5, 0.5), 1) == ((1.0, 0.0), (1.0, 0.0))
