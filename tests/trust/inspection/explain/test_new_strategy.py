"""A strategy that is added to the table is known to rows, settings, `trust explain` and the simulator."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from gossipllm.config.toml import from_mapping
from sim.experiments.methods import method_named, methods
from trust.errors import UserMistake
from trust.inspection.explain.answering import explained
from trust.inspection.explain.case import case_of
from trust.inspection.explain.document import LeaveOneOut
from trust.inspection.explain.page import print_page
from trust.inspection.explain.proposals import proposals
from trust.rows.config import TrustConfig, evidence_of
from trust.rows.evidence import Distance, Neighbour
from trust.rows.priors import Counts
from trust.rows.rows import candidate_rows
from trust.rows.strategies import STRATEGIES, Strategy

HALF_TO_NEAREST = Strategy(
    about="half to the nearest neighbour",
    explanation="Half of everything goes to the neighbour whose adapter is nearest to {me}'s.",
    evidence=lambda _: ("weights",),
    weights=lambda _, neighbours: [
        (None, half_to_nearest([neighbour.distances[0].mean for neighbour in neighbours]))
    ],
)


def half_to_nearest(distances: list[float]) -> list[float]:
    nearest = distances.index(min(distances))
    return [0.5, *(0.5 if k == nearest else 0.0 for k in range(len(distances)))]


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STRATEGIES, "toy", HALF_TO_NEAREST)


@pytest.mark.usefixtures("toy")
def test_a_new_entry_makes_rows() -> None:
    config = TrustConfig(strategy="toy", tokens_power=1.0, max_age=2)
    near, far, old = (
        Neighbour(name, "", (Distance(mean, 0.0),), (0.0,), age, tokens=100, samples=1)
        for name, mean, age in (("near", 0.1, 0), ("far", 0.4, 0), ("old", 0.0, 3))
    )
    assert evidence_of(config) == ("weights",)
    me = Counts(tokens=100, samples=1)
    assert [candidate.row for candidate in candidate_rows(config, [far, near], me)] == [(0.5, 0.0, 0.5)]
    assert [candidate.row for candidate in candidate_rows(config, [near, old], me)] == [(1.0, 0.0, 0.0)], (
        "too old"
    )


@pytest.mark.usefixtures("toy")
def test_a_new_entry_may_stand_in_the_settings() -> None:
    assert from_mapping(TrustConfig, {"strategy": "toy"}, "peer.toml").strategy == "toy"
    with pytest.raises(UserMistake, match="got 'toi'; did you mean \"toy\""):
        from_mapping(TrustConfig, {"strategy": "toi"}, "trust")


def test_without_its_entry_it_may_not() -> None:
    with pytest.raises(ValueError, match="got 'toy'"):
        TrustConfig(strategy="toy")


@pytest.mark.usefixtures("toy")
def test_a_new_entry_is_a_method_of_the_simulator() -> None:
    assert method_named("toy+noguard").strategy == "toy"
    assert methods()["toy"].about == "half to the nearest neighbour"


@pytest.fixture
def toy_page(toy: None, written: Any) -> str:
    """The explanation of a weight in a toy network whose peers use the new strategy."""
    del toy
    case = case_of(written(TrustConfig(strategy="toy")), "p0", "p1", None)
    document = explained(case, proposals(case), losses={}, without=LeaveOneOut(why="not measured"))
    assert document.check.agrees, "the row comes out of the records again"
    console = Console(width=100, highlight=False)
    with console.capture() as captured:
        print_page(document, console)
    return captured.get()


def test_a_new_entry_is_explained_in_its_own_words(toy_page: str) -> None:
    text = " ".join(toy_page.split())
    assert "Half of everything goes to the neighbour whose adapter is nearest to p0's." in text
    assert "> toy" in text, "among the other strategies, as the one in use"
