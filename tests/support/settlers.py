"""Toy peers that overtrain on their own text, and settle at their best state."""

from __future__ import annotations

from collections.abc import Iterator

from gossipllm.work import Train
from peers.core.config import DefenceConfig
from peers.core.effects import Effect, Store
from peers.core.plateau import SettleConfig
from peers.core.round.stages import Settled
from peers.core.saved import Saved
from support.core_bench import Bench
from support.effects import every, only, records
from trust.record.history import Round

LEAN = (1.0, 0.3, 0.0, 0.0)
"""The toy's own text leads past its target: it comes nearest on its way, and would end as far off as it began."""
SETTLE = SettleConfig(patience=3, decays=1)


def settler(*, saved: Saved | None = None, rounds: int = 0) -> Bench:
    """A peer that overtrains on its own text, and settles."""
    return Bench(
        saved=saved, lean=LEAN, settle=SETTLE, rounds={"rounds": rounds}, defence=DefenceConfig(patience=0)
    )


def rounds_of(bench: Bench, effects: list[Effect], most: int = 60) -> Iterator[list[Effect]]:
    """The effects at the end of each round, until the peer asks for no local steps any more."""
    for _ in range(most):
        if not every(effects, Train):
            return
        effects = bench.finish(bench.publish(bench.answer(effects)))
        bench.tell_stored(effects)
        yield effects
    raise AssertionError(f"did not settle in {most} rounds")


def settled() -> tuple[Bench, list[Round]]:
    """A peer that trained alone until it settled, and its rounds."""
    bench = settler()
    ended = list(rounds_of(bench, bench.start()))
    assert bench.core.stage == Settled()
    return bench, [one for effects in ended for one in records(effects) if isinstance(one, Round)]


def saved_by(effects: list[Effect]) -> Saved:
    return only(effects, Store).saved
