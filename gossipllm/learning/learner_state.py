"""What a learner is between two requests, and what a snapshot keeps of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gossipllm.config import LearnerConfig
from gossipllm.learning.merging.pruning import cut
from gossipllm.learning.merging.push import Pushed
from gossipllm.learning.moments import Moments
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import State
from gossipllm.model.adapter.snapshots import (
    Snapshot,
    SnapshotHeader,
    check_snapshot,
    decode_snapshot,
    encode_snapshot,
)
from trust.errors import UserMistake
from wire.digest import Content
from wire.messages import Fingerprints


@dataclass(frozen=True, slots=True, eq=False)
class LearnerState:
    """After `round` rounds: the adapter and its form, from where its last local steps began, the units that they
    trained, the optimiser's memory, and what push-sum keeps where that mixes."""

    blueprint: Blueprint
    round: int
    state: State
    start: State
    units: tuple[int, ...]
    moments: Moments
    pushed: Pushed | None = None

    @staticmethod
    def fresh(config: LearnerConfig, blueprint: Blueprint) -> LearnerState:
        """Before the first step: all own units count as trained."""
        state = blueprint.start(config.training.seed)
        pushed = Pushed.begin(state, blueprint.trained) if not config.rows else None
        return LearnerState(blueprint, 0, state, state, blueprint.own, Moments(), pushed)

    def narrowed(self, rank: int) -> LearnerState:
        """The same adapter cut to this rank.

        The scale alpha / rank grows as the rank falls: B shrinks by as much, so that what is kept of the product
        stays. The gradient of B grows, and with it the moments.
        """
        if rank == self.blueprint.rank:
            return self
        share = rank / self.blueprint.rank
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
                first=cut(moments.first, rank, 1 / share),
                second=cut(moments.second, rank, share**-2),
            ),
        )


def diverged(why: object) -> UserMistake:
    """For an adapter that local steps made useless: a number of it or its loss is not finite."""
    return UserMistake(f"training diverged ({why}); lower training.learning_rate")


def saved(now: LearnerState, config: LearnerConfig, names: Fingerprints) -> Content:
    """All that resuming needs; equal states give equal bytes."""
    blueprint, moments, pushed = now.blueprint, now.moments, now.pushed
    header = SnapshotHeader(
        base=names.base,
        tokenizer=names.tokenizer,
        layout=names.layout,
        model_name=config.model.name,
        train=config.adapter.train,
        rank=blueprint.rank,
        alpha=config.adapter.alpha,
        dropout=config.adapter.dropout,
        fan_in_fan_out=blueprint.fan_in_fan_out,
        round=now.round,
        steps=moments.steps,
        since=moments.since,
        units=moments.units,
        tokens=pushed.tokens if pushed else 0,
        samples=pushed.samples if pushed else 0,
    )
    needed = config.sends_start or "progress" in config.evidence
    # What local steps did not touch is the same object in both, and need not be saved twice.
    start = {name: value for name, value in now.start.items() if needed and value is not now.state[name]}
    mass = pushed.mass.arrays() if pushed else {}
    return Content.of(
        encode_snapshot(Snapshot(header, now.state, start, moments.first, moments.second, mass))
    )


def resumed(content: Content, blueprint: Blueprint, names: Fingerprints) -> LearnerState:
    """What `saved` saved. Raises `UserMistake` where it was saved by a learner of another form.

    `blueprint` is the configured one; where ranks are pruned, a smaller rank is what pruning had left.
    """
    snapshot = decode_snapshot(content.data)
    if blueprint.config.prune < 1 and 1 <= snapshot.header.rank < blueprint.rank:
        blueprint = blueprint.narrowed(snapshot.header.rank)
    check_snapshot(
        snapshot, base=names.base, tokenizer=names.tokenizer, layout=names.layout, state=blueprint.layout
    )
    header = snapshot.header
    # safetensors gives tensors back in another order each time; sums over them would differ in their last bits.
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
    )
