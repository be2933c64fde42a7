"""Relations: who merges, who is compared and who is neither follows from fingerprints and our own settings."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gossipllm.config import LearnerConfig
from gossipllm.work import Open, Opened
from peers.core.config import CoreConfig, DefenceConfig
from peers.core.others.connected.relation import CURES, Relations, other_network
from peers.core.terms import Terms
from sim.toy.learner import ToyLearner, fingerprints
from trust.record.history import Relation
from trust.rows.config import StrategyName
from trust.rows.rows import TrustConfig
from wire.digest import fingerprint_of
from wire.messages import Fingerprints, network_id

OURS = fingerprints()
DISTILS = LearnerConfig(also="distil")


def relations(
    *,
    strategy: StrategyName = "predictions",
    learner: LearnerConfig | None = None,
    unbound: bool = False,
    without: dict[str, Any] | None = None,
) -> Relations:
    """`without` are fields of `Opened`."""
    learner = learner or LearnerConfig()
    config = CoreConfig(
        name="me",
        trust=TrustConfig(strategy=strategy),
        learner=learner,
        defence=DefenceConfig(bind_rows=0 if unbound else 4),
    )
    opened = ToyLearner((0.0,) * 4).answer(Open(request=1, config=learner, snapshot=None))
    assert isinstance(opened, Opened)
    return Relations(config, Terms.of("gossipllm", msgspec.structs.replace(opened, **(without or {}))))


def with_other(*fields: str) -> Fingerprints:
    return msgspec.structs.replace(OURS, **dict.fromkeys(fields, bytes(32)))


def test_equal_base_tokenizer_and_layout_merge() -> None:
    assert relations().to(OURS) == "merges"
    assert relations(learner=DISTILS).to(OURS) == "merges"
    assert relations(strategy="weights").to(OURS) == "merges"


@pytest.mark.parametrize("fields", [("base",), ("layout",), ("base", "layout")])
def test_another_base_or_layout_is_compared_and_where_we_distil_learnt_from(fields: tuple[str, ...]) -> None:
    assert relations().to(with_other(*fields)) == "compares"
    assert relations(learner=DISTILS).to(with_other(*fields)) == "distils"


def test_where_nothing_is_held_against_updates_nothing_is_distilled() -> None:
    assert relations(learner=DISTILS, unbound=True).to(with_other("base")) == "compares"


@pytest.mark.parametrize("fields", [("tokenizer",), ("base", "tokenizer"), ("base", "tokenizer", "layout")])
def test_another_tokenizer_is_compared_by_byte_rows(fields: tuple[str, ...]) -> None:
    assert relations().to(with_other(*fields)) == "compares"
    assert relations(strategy="weights").to(with_other(*fields)) == "apart"


@pytest.mark.parametrize("fields", [("tokenizer",), ("base", "tokenizer", "layout")])
def test_a_peer_that_distils_learns_from_byte_rows_of_another_tokenizer(fields: tuple[str, ...]) -> None:
    assert relations(learner=DISTILS).to(with_other(*fields)) == "distils"
    assert relations(learner=DISTILS, without={"offsets": 0}).to(with_other(*fields)) == "apart"


@pytest.mark.parametrize("none", [{"offsets": 0}, {"no_byte_rows": "the tokenizer changes the text"}])
def test_without_byte_rows_of_our_own_another_tokenizer_is_nothing_to_us(none: dict[str, Any]) -> None:
    ours = relations(without=none)
    assert ours.to(with_other("tokenizer")) == "apart"
    assert ours.to(with_other("base")) == "compares"


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("predictions", "compares"),
        ("weights", "apart"),
        ("validation", "apart"),
        ("learned", "apart"),
        ("uniform", "apart"),
        ("local", "apart"),
    ],
)
def test_only_strategies_that_read_predictions_compare_other_bases(
    strategy: StrategyName, expected: Relation
) -> None:
    assert relations(strategy=strategy).to(with_other("base")) == expected


def test_a_strategy_without_evidence_can_still_distil() -> None:
    assert relations(strategy="uniform", learner=DISTILS).to(with_other("base")) == "distils"


def test_a_network_that_pushes_mass_has_nothing_for_other_bases() -> None:
    pushes = LearnerConfig(mixing="push-sum")
    assert relations(strategy="uniform", learner=pushes).to(with_other("base")) == "apart"


def difference(net: bytes, theirs: Fingerprints = OURS) -> tuple[str, str] | None:
    ours = network_id("gossipllm", OURS.reference)
    return other_network(net, theirs, OURS, name="gossipllm", our_net=ours)


def test_another_base_is_no_other_network() -> None:
    theirs = with_other("base", "tokenizer", "layout")
    assert difference(network_id("gossipllm", theirs.reference), theirs) is None


@pytest.mark.parametrize("version", [1, 2])
def test_a_peer_of_an_earlier_version_is_told_from_one_of_another_network(version: int) -> None:
    for theirs in (OURS, with_other("base"), with_other("reference")):
        parts = (b"gossipllm", theirs.base, theirs.tokenizer, theirs.reference, theirs.layout)
        net = fingerprint_of(f"gossipllm/{version}", parts)
        assert difference(net, theirs) == (
            "version",
            f"theirs speaks protocol {version}, ours 3; theirs is older",
        )


def test_a_peer_of_a_later_version_says_that_ours_is_older() -> None:
    for net in (
        network_id("gossipllm", OURS.reference, version=4),
        network_id("another name", bytes(32), version=4),
    ):
        assert difference(net) == ("version", "theirs speaks protocol 4, ours 3; ours is older")
    assert "update gossipllm" in CURES["version"]


def test_a_lie_about_the_reference_set_is_another_network() -> None:
    found = difference(network_id("gossipllm", OURS.reference), with_other("reference"))
    assert found is not None
    assert found[0] == "reference"
