"""The average of a peer's own iterates: when it is measured, and what settles on it."""

from __future__ import annotations

import math
from dataclasses import replace

import msgspec

from gossipllm.work import Averaged, Request, Restore, Train, Trained
from peers.core.config import DefenceConfig
from peers.core.events import LearnerAnswer
from peers.core.plateau import SettleConfig
from peers.core.saved import Saved
from sim.toy.learner import ToyLearner
from support.core_bench import TARGET, Bench, update_of
from support.effects import every, notes, only, records
from support.settlers import LEAN, SETTLE, rounds_of, saved_by, settler
from trust.record.history import Round

NEAR = update_of((1.0, 0.05, 0.0, 0.0))
"""A state nearer to the target than the toy's own text leads."""


class AveragingLearner(ToyLearner):
    """A toy learner whose iterates have an average that is better than all of them."""

    def answer(self, request: Request) -> LearnerAnswer:
        reply = super().answer(request)
        if not isinstance(request, Train) or not isinstance(reply, Trained) or request.average_from is None:
            return reply
        if not request.steps or reply.trust_loss < request.average_from:
            return reply
        loss = 0.05**2 / 4
        return msgspec.structs.replace(reply, average=Averaged(snapshot=NEAR, trust_loss=loss))


def averager(*, saved: Saved | None = None, settle: SettleConfig = SETTLE, rounds: int = 0) -> Bench:
    bench = Bench(saved=saved, settle=settle, rounds={"rounds": rounds}, defence=DefenceConfig(patience=0))
    bench.learner = AveragingLearner(TARGET, lean=LEAN)
    return bench


def test_a_peer_settles_on_the_average_where_that_has_the_least_loss() -> None:
    bench = averager()
    ended = list(rounds_of(bench, bench.start()))
    last = saved_by(ended[-1])
    assert last.snapshot == NEAR
    assert last.update == NEAR, "and announces it"
    assert last.plateau.averaged
    told = [text for effects in ended for text in notes(effects)]
    assert "back to the best state, the average of its adapters up to round" in told[-1]


def test_the_history_has_the_loss_of_the_average_where_it_was_measured() -> None:
    bench = averager()
    rounds = [one for effects in rounds_of(bench, bench.start()) for one in records(effects)]
    measured = [one.average for one in rounds if isinstance(one, Round)]
    assert measured[0] is None, "the first rounds gain by themselves"
    assert 0.05**2 / 4 in measured
    assert measured[-1] is None, "a round without steps has none"


def test_the_average_is_exported_and_gone_back_to_after_a_restart() -> None:
    bench = averager()
    states = (saved_by(effects) for effects in rounds_of(bench, bench.start()))
    saved = next(one for one in states if one.plateau.averaged)
    assert saved.best_snapshot == NEAR != saved.snapshot
    again = settler(saved=saved)
    last = saved_by(list(rounds_of(again, again.start()))[-1])
    assert last.snapshot == NEAR


def test_who_goes_back_because_nothing_was_gained_keeps_its_average() -> None:
    bench = averager()
    effects, kept = bench.start(), list[bool]()
    while every(effects, Train):
        asked = bench.publish(bench.answer(effects))
        kept += [one.keeps_average for one in every(asked, Restore)]
        effects = bench.finish(asked)
        bench.tell_stored(effects)
    assert kept
    assert all(kept)


def test_the_average_is_measured_only_while_nothing_gains() -> None:
    bench = averager(settle=replace(SETTLE, patience=50))
    effects, asked, idle = bench.start(), list[float](), list[int]()
    for _ in range(12):
        from_loss = only(effects, Train).average_from
        assert from_loss is not None
        asked.append(from_loss)
        effects = bench.finish(bench.publish(bench.answer(effects)))
        bench.tell_stored(effects)
        idle.append(saved_by(effects).plateau.idle)
    assert asked[0] == math.inf, "nothing is known yet"
    assert [loss == math.inf for loss in asked[1:]] == [rounds == 0 for rounds in idle[:-1]]
    assert 0 in idle
    assert any(idle)


def test_a_run_of_so_many_rounds_measures_the_average_at_its_end() -> None:
    bench = averager(settle=replace(SETTLE, patience=50), rounds=3)
    last = saved_by(list(rounds_of(bench, bench.start()))[-1])
    assert last.round == 3
    assert last.snapshot == NEAR


def test_without_the_setting_no_average_is_asked_for() -> None:
    bench = averager(settle=replace(SETTLE, average=False))
    effects = bench.start()
    assert only(effects, Train).average_from is None
    assert not any(saved_by(one).plateau.averaged for one in rounds_of(bench, effects))
