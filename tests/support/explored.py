"""Small worlds with chosen faults, for tests of the explorer and of its checks."""

from __future__ import annotations

from dataclasses import replace

from peers.core.config import CoreConfig, DefenceConfig, RoundConfig
from peers.core.plateau import SettleConfig
from sim.exploration.checks.table import checked
from sim.exploration.plan import Part, Plan, PlannedPeer
from sim.world.conditions import ComputeConfig, Conditions, LinkConfig
from trust.rows.rows import TrustConfig


def plan_of(*parts: Part, peers: int = 3, rounds: int = 0, seed: int = 1, quiet_s: float = 60.0) -> Plan:
    """Peers with one target and different leans, and these faults in the first 20 seconds. None pauses
    where nobody helps, so that every round decides."""
    config = RoundConfig(steps=2, patience_s=1.0, compare_every_s=2.0, rounds=rounds)
    planned = tuple(
        PlannedPeer(
            config=CoreConfig(
                name=f"p{number}",
                round=config,
                trust=TrustConfig(strategy="uniform"),
                defence=DefenceConfig(fruitless=0),
            ),
            target=(1.0, 2.0, 3.0, 4.0),
            lean=tuple(0.5 if axis == number else 0.0 for axis in range(4)),
            speed=1.0 + number / 10,
            tokens=1,
            joins_s=0.0,
        )
        for number in range(peers)
    )
    return Plan(
        seed=seed,
        conditions=Conditions(link=LinkConfig(disk_s=0.05), compute=ComputeConfig(step_s=0.5, answer_s=0.1)),
        form="whole",
        peers=planned,
        parts=parts,
        eventful_s=20.0,
        quiet_s=quiet_s,
        pause_s=quiet_s / 2,
        news_s=quiet_s / 2,
    )


def with_strategy(plan: Plan, strategy: str) -> Plan:
    peers = [
        replace(one, config=replace(one.config, trust=TrustConfig(strategy=strategy))) for one in plan.peers
    ]
    return replace(plan, peers=tuple(peers))


def with_bases(plan: Plan, *bases: str) -> Plan:
    """The same peers, each on its base."""
    peers = [replace(one, base=base) for one, base in zip(plan.peers, bases, strict=True)]
    return replace(plan, peers=tuple(peers))


def with_settling(plan: Plan, *, patience: int) -> Plan:
    """The same peers, but the first settles after this many rounds without a gain."""
    first, *others = plan.peers
    settles = replace(first.config, settle=SettleConfig(patience=patience, schedule="constant"))
    return replace(plan, peers=(replace(first, config=settles), *others))


def violated(plan: Plan) -> set[str]:
    """Names of the invariants that the world of this plan violates."""
    return {one.invariant for one in checked(plan).violations}
