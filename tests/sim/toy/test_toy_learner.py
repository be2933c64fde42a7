"""The toy learner's answers about single neighbours, and its way back."""

from __future__ import annotations

import math

import pytest

from gossipllm.config import LearnerConfig
from gossipllm.work import Confirm, Confirmation, Confirmed, Finalist, Merged, Open, Restore, Train, Trained
from sim.toy.learner import ToyLearner
from sim.toy.units import Form

TARGET = (1.0, 0.0, 0.0, 0.0)


def opened(lean: float, form: Form = "whole", target: tuple[float, ...] = TARGET) -> ToyLearner:
    learner = ToyLearner(target, lean=(0.0, lean, 0.0, 0.0), form=form)
    learner.answer(Open(request=1, config=LearnerConfig(), snapshot=None))
    return learner


def train(learner: ToyLearner, number: int = 1) -> Trained:
    trained = learner.answer(Train(request=2, round=number, steps=5))
    assert isinstance(trained, Trained)
    return trained


def confirm(learner: ToyLearner, *others: Trained) -> tuple[Confirmation, ...]:
    finalists = tuple(Finalist(author="ada", update=one.update) for one in others)
    confirmed = learner.answer(Confirm(request=3, finalists=finalists, share=0.5))
    assert isinstance(confirmed, Confirmed)
    return confirmed.results


@pytest.mark.parametrize("form", ["whole", "split"])
def test_a_neighbour_that_leans_the_other_way_gains_and_a_foreign_one_harms(form: Form) -> None:
    learner = opened(1.0, form)
    train(learner)
    helpful = train(opened(-1.0, form))
    harmful = train(opened(1.0, form, (-5.0, 0.0, 0.0, 0.0)))

    helps, harms = confirm(learner, helpful, harmful)

    # In the middle between leans of 1 and -1 nothing is left of the lean's part of the loss.
    kept = 1 - 0.9**5
    assert helps.gain == pytest.approx(kept**2 / 4, rel=1e-5)
    assert harms.gain < 0
    assert helps.size == pytest.approx(1)


def test_equal_updates_of_a_peculiar_peer_are_copies() -> None:
    learner = opened(1.0)
    own = train(learner)
    other = train(opened(-1.0))

    first, again, mine = confirm(learner, other, other, own)

    assert [first.twin, again.twin, mine.twin] == [0, 0, -1]
    assert math.isnan(again.gain)


def test_peers_of_one_target_without_a_lean_are_no_copies_of_each_other() -> None:
    learner = opened(0.0)
    train(learner)

    first, again = confirm(learner, train(opened(0.0)), train(opened(0.0)))

    assert [first.twin, again.twin] == [0, 1]


@pytest.mark.parametrize("form", ["whole", "split"])
def test_going_back_brings_the_vector_back(form: Form) -> None:
    learner = opened(1.0, form)
    good = train(learner)
    later = train(learner, 2)

    merged = learner.answer(Restore(request=4, snapshot=good.snapshot))

    assert isinstance(merged, Merged)
    assert merged.snapshot == good.snapshot
    assert merged.trust_loss == pytest.approx(good.trust_loss)
    assert merged.test_alone == pytest.approx(later.trust_loss)
