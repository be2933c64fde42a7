"""Ledgers of a peer that has opened a toy learner, for tests of which announcements count."""

from __future__ import annotations

from typing import Any

from gossipllm.config import LearnerConfig
from gossipllm.work import Open, Opened
from peers.core.config import CoreConfig
from peers.core.others.admission import (
    Ledger,
)
from peers.core.others.offers import Offers
from peers.core.terms import Terms
from sim.toy.learner import ToyLearner
from sim.toy.units import Form
from sim.world.keys import ToyKeys
from trust.rows.rows import TrustConfig

ME = ToyKeys.of("me")


def ledger_of(
    learner: LearnerConfig, form: Form = "whole", *, strategy: Any = "predictions", shape: Any = "ours"
) -> Ledger:
    """Of a peer that has opened a learner with these settings."""
    opened = ToyLearner((0.0,) * 4, form=form).answer(Open(request=1, config=learner, snapshot=None))
    assert isinstance(opened, Opened)
    terms = Terms.of("gossipllm", opened)
    return Ledger(
        terms,
        Offers(
            terms,
            CoreConfig(name="me", learner=learner, trust=TrustConfig(strategy=strategy, form=shape)),
            ME.public_key,
        ),
    )
