"""Random settings of explored peers: what all peers of a network share, and what each chooses for itself."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import get_args

from gossipllm.config import AdapterConfig, HeadsConfig, LayersConfig, LearnerConfig
from gossipllm.config.choices import Missing, Mixing, Sampling
from peers.core.config import CoreConfig, DefenceConfig, RoundConfig
from peers.core.plateau import NEVER_SETTLES, Schedule, SettleConfig
from sim.toy.units import Form
from trust.rows.rows import Form as RowForm
from trust.rows.rows import TrustConfig
from trust.rows.strategies import STRATEGIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Settings of a whole network. `parts` says which part of an adapter a round trains."""

    form: Form
    mixing: Mixing
    parts: str
    barrier: bool
    rounds: int


def shared(rng: random.Random) -> Shared:
    drawn: Form = rng.choice(("whole", "whole", "whole", "split", "ranked"))
    mixing: Mixing = rng.choice(("parameters", "parameters", "parameters", "updates", "push-sum"))
    # Push-sum is for whole adapters only.
    form = "whole" if mixing == "push-sum" else drawn
    return Shared(
        form=form,
        mixing=mixing,
        parts=rng.choice(("", "", "blocks", "distil", "heads")) if form == "split" else "",
        barrier=rng.random() < 0.15,
        rounds=rng.choice((0, 0, 0, 0, 6)),
    )


def peer_settings(name: str, common: Shared, rng: random.Random) -> CoreConfig:
    most_partners = rng.choice((1, 2, 4, 16))
    round_ = RoundConfig(
        steps=rng.randint(1, 4),
        rounds=common.rounds,
        patience_s=rng.choice((0.5, 2.0, 6.0)),
        quorum=rng.choice((0, 0, 0, 1)),
        most_partners=most_partners,
        explore=rng.randint(0, min(most_partners, 4)),
        guard=rng.random() < 0.85,
        barrier=common.barrier,
        warmup_rounds=rng.choice((0, 0, 0, 2)),
        compare_every_s=rng.choice((2.0, 5.0, 10.0)),
    )
    return CoreConfig(
        name=name,
        defence=_defence(random.Random(f"{name} {round_}")),
        round=round_,
        settle=_settle(random.Random(f"settle {name} {round_}")),
        trust=_trust(common, rng),
        learner=_learner(common, rng),
        keep_neighbours=rng.random() < 0.2,
        merges=rng.random() < 0.95,
    )


def _trust(common: Shared, rng: random.Random) -> TrustConfig:
    if common.mixing == "push-sum":
        return TrustConfig(strategy="uniform")
    strategy = rng.choice((*STRATEGIES, "predictions", "validation"))
    published: list[RowForm] = list(STRATEGIES[strategy].published)
    # The published forms weigh whole adapters only.
    plain = common.form == "whole" and not common.parts
    return TrustConfig(
        strategy=strategy,
        form=rng.choice(published) if plain and published and rng.random() < 0.2 else "ours",
        fixed=("p0=0.3", "p1=0.2") if strategy == "fixed" else (),
        age_decay=rng.choice((0.0, 0.5)),
        max_age=rng.choice((1, 4, 8)),
        tokens_power=rng.choice((0.0, 0.0, 1.0)),
        tokens_count=rng.choice(("processed", "total")),
    )


def _learner(common: Shared, rng: random.Random) -> LearnerConfig:
    adapter = AdapterConfig(rank=rng.choice((1, 2, 4)) if common.form == "ranked" else 1)
    layers, heads = LayersConfig(), HeadsConfig()
    missing = rng.choice(get_args(Missing))
    match common.parts:
        case "blocks":
            sampling = rng.choice(get_args(Sampling))
            layers = LayersConfig(count=rng.randint(1, 3), sampling=sampling, missing=missing)
        case "distil":
            contexts = rng.choice(("make", "fetch"))
            layers = LayersConfig(count=1, missing=missing, context="distil", contexts=contexts)
        case "heads":
            adapter = AdapterConfig(train="heads")
            heads = HeadsConfig(copies=rng.randint(1, 2), capacity=rng.choice((1, 2, 1000)))
        case _:
            if common.form == "split" and rng.random() < 0.3:
                adapter = AdapterConfig(
                    modules=tuple(f"w{n}" for n in range(4) if n == 0 or rng.random() < 0.5)
                )
    return LearnerConfig(adapter=adapter, layers=layers, heads=heads, mixing=common.mixing)


def _defence(rng: random.Random) -> DefenceConfig:
    """Mostly the defaults, else any."""
    if rng.random() < 0.5:
        return DefenceConfig()
    drawn = DefenceConfig(
        confirm=rng.random() < 0.8,
        share=rng.choice((0.05, 0.1, 0.5, 1.0)),
        errors=rng.choice((0.0, 1.0, 3.0)),
        bind_rows=rng.choice((0, 1, 4)),
        commit=rng.random() < 0.7,
        newcomers=rng.choice((0.0, 0.25, 0.5, 1.0)),
        own_share=rng.choice((0.0, 0.1, 0.5, 1.0)),
        patience=rng.choice((0, 1, 2, 5)),
        row_errors=rng.choice((0.0, 1.0, 3.0)),
        fruitless=rng.choice((0, 1, 2, 5)),
    )
    # Where newcomers have no bound, standing says nothing about weights either.
    return replace(drawn, credit=0.0) if drawn.newcomers == 1 else drawn


def _settle(rng: random.Random) -> SettleConfig:
    """Half of the peers train for ever, the others settle within a few rounds or many."""
    if rng.random() < 0.5:
        return NEVER_SETTLES
    schedules: tuple[Schedule, ...] = get_args(Schedule)
    return SettleConfig(
        patience=rng.choice((1, 2, 3, 8)),
        schedule=rng.choice(schedules),
        decays=rng.randint(0, 2),
        average=rng.random() < 0.5,
    )
