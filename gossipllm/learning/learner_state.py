"""A learner's state between two requests, and its snapshot as bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from msgspec import UNSET

from gossipllm.config import LearnerConfig
from gossipllm.learning.jobs.moments import Moments
from gossipllm.learning.merging.pruning import cut
from gossipllm.learning.merging.push.push import Pushed
from gossipllm.learning.merging.rounded import Announced
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import State
from gossipllm.model.adapter.snapshots import (
    LeastOwn,
    Snapshot,
    SnapshotHeader,
    check_snapshot,
    decode_snapshot,
    encode_snapshot,
)
from trust.errors import UserMistake
from wire.digest import Content
from wire.floats import F32
from wire.messages import Fingerprints


@dataclass(frozen=True, slots=True, eq=False)
class LearnerState:
    """A learner after `round` rounds. Never changed in place.

    `start` is the adapter from which the last local steps began, `units` are those that they trained, and `pushed` is
    the mass of push-sum, None where adapters are mixed otherwise. `gates` belong to an adapter of two parts
    (`composition.parts`). `momentum` is that of merges, as of round `moved_round`; empty for none. `average` is that of
    `averaged` adapters after local steps (`iterate_average`); empty for none. `announced` is the last update that was
    announced, None where updates travel whole or there was none. `least_own` is the least loss of the own text so far,
    None where it was not measured.
    """

    blueprint: Blueprint
    round: int
    state: State
    start: State
    units: tuple[int, ...]
    moments: Moments
    pushed: Pushed | None = None
    gates: tuple[float, ...] = ()
    momentum: State = field(default_factory=dict[str, F32])
    moved_round: int = 0
    average: State = field(default_factory=dict[str, F32])
    averaged: int = 0
    announced: Announced | None = None
    least_own: LeastOwn | None = None

    @staticmethod
    def fresh(config: LearnerConfig, blueprint: Blueprint, warm: State | None = None) -> LearnerState:
        """The state before the first step, from the adapter `warm` where there is one. All own units count as
        trained."""
        state = blueprint.start(config.training.seed) if warm is None else warm
        pushed = Pushed.begin(state, blueprint.trained) if not config.rows else None
        return LearnerState(blueprint, 0, state, state, blueprint.own, Moments(), pushed)

    def narrowed(self, rank: int) -> LearnerState:
        """The same adapter cut to this rank.

        The scale alpha / rank grows as the rank falls: B shrinks by as much, so that what is kept of the product
        stays. The gradient of B grows, and with it the moments. A new average begins.
        """
        if rank == self.blueprint.rank:
            return self
        share = rank / self.blueprint.rank
        # In the form that is trained, whose scale grows by as much, or by the root of it with rsLoRA.
        steeper = math.sqrt(share) if self.blueprint.config.scaling == "rslora" else share
        state, moments = cut(self.state, rank, share), self.moments
        # Tensors that local steps did not touch stay the same object in both, so that `saved` stores them once.
        moved = {name: value for name, value in self.start.items() if value is not self.state[name]}
        return replace(
            self,
            blueprint=self.blueprint.narrowed(rank),
            state=state,
            start={**state, **cut(moved, rank, share)},
            moments=replace(
                moments,
                first=cut(moments.first, rank, 1 / steeper),
                second=cut(moments.second, rank, steeper**-2),
            ),
            average={},
            averaged=0,
        )


def stretch_of(blueprint: Blueprint) -> float:
    """How much larger the factor that starts at zero is in the form that is sent, at alpha / rank, than where local
    steps are taken (`AdapterConfig.scaling`)."""
    return math.sqrt(blueprint.rank) if blueprint.config.scaling == "rslora" else 1.0


class Diverged(UserMistake):
    """Local steps made the adapter useless, or the base was useless before: a number or a loss is not finite."""


def diverged(why: object) -> Diverged:
    return Diverged(f"training diverged ({why}); lower training.learning_rate")


def saved(now: LearnerState, config: LearnerConfig, names: Fingerprints) -> Content:
    """The snapshot of a state: everything that resuming needs. Equal states give equal bytes."""
    blueprint, moments, pushed, announced = now.blueprint, now.moments, now.pushed, now.announced
    header = SnapshotHeader(
        base=names.base,
        tokenizer=names.tokenizer,
        layout=names.layout,
        model_name=config.model.name,
        train=config.adapter.train,
        rank=blueprint.rank,
        alpha=blueprint.config.alpha,
        dropout=config.adapter.dropout,
        scaling=config.adapter.scaling,
        fan_in_fan_out=blueprint.fan_in_fan_out,
        round=now.round,
        steps=moments.steps,
        since=moments.since,
        units=moments.units,
        tokens=pushed.tokens if pushed else 0,
        samples=pushed.samples if pushed else 0,
        gates=now.gates,
        moved_round=now.moved_round,
        averaged=now.averaged,
        exponents=announced.exponents if announced else (),
        least_own=UNSET if now.least_own is None else now.least_own,
    )
    # Outer momentum is of moves from there.
    needed = config.sends_start or "progress" in config.evidence or config.outer != "none"
    # Tensors that local steps did not touch are the same object in both, and are saved once; likewise at an average.
    start = {name: value for name, value in now.start.items() if needed and value is not now.state[name]}
    average = {name: value for name, value in now.average.items() if value is not now.state[name]}
    mass = pushed.mass.arrays() if pushed else {}
    return Content.of(
        encode_snapshot(
            Snapshot(
                header,
                now.state,
                start,
                moments.first,
                moments.second,
                mass,
                now.momentum,
                average,
                announced.update.data if announced else b"",
            )
        )
    )


def resumed(content: Content, blueprint: Blueprint, names: Fingerprints) -> LearnerState:
    """The state in a snapshot. Raises `UserMistake` where the snapshot belongs to another model or form of adapter.

    `blueprint` is the configured one. With pruning, a snapshot of a smaller rank is accepted, because the rank falls
    while a peer trains.
    """
    snapshot = decode_snapshot(content.data)
    if blueprint.config.prune < 1 and 1 <= snapshot.header.rank < blueprint.rank:
        blueprint = blueprint.narrowed(snapshot.header.rank)
    check_snapshot(
        snapshot, base=names.base, tokenizer=names.tokenizer, layout=names.layout, state=blueprint.layout
    )
    header = snapshot.header
    # safetensors returns tensors in an order that differs from run to run; sums over them would differ in last bits.
    adapter = {spec.name: snapshot.adapter[spec.name] for spec in blueprint.layout.tensors}
    pushed = None
    if snapshot.mass:
        pushed = Pushed.restored(snapshot.mass, tokens=header.tokens, samples=header.samples)
    return LearnerState(
        blueprint,
        header.round,
        adapter,
        {**adapter, **snapshot.start},
        blueprint.units_of(header.units),
        Moments(header.steps, snapshot.first, snapshot.second, header.since, header.units),
        pushed,
        header.gates,
        {name: snapshot.outer[name] for name in adapter if name in snapshot.outer},
        header.moved_round,
        {name: snapshot.average.get(name, value) for name, value in adapter.items()}
        if header.averaged
        else {},
        header.averaged,
        Announced(Content.of(snapshot.announced), header.exponents) if snapshot.announced else None,
        None if header.least_own is UNSET else header.least_own,
    )
