"""Faults whose forgeries help by themselves: too far along the honest mean, disguised copies, and turns."""

from __future__ import annotations

import numpy as np
import pytest

from gossipllm.learning.merging.distances.twins import least_sine, sine
from gossipllm.learning.merging.products.inner_products import OfferedPieces, inner_products
from gossipllm.model.adapter.names import State
from gossipllm.work import Trained
from sim.adversaries.fault import Scene
from sim.adversaries.table import ADVERSARIES
from sim.adversaries.workshop import averaged, distance
from support.adversaries import Answers, MakeScene, products, sent


def test_an_overshoot_goes_four_times_as_far_as_the_honest_mean(scene: MakeScene, trained: Answers) -> None:
    one = scene()
    forged, _ = sent(ADVERSARIES["overshoot"].fault(), one, trained)
    mean = products(averaged([each.state for each in one.known.values()]))

    for module, product in products(forged).items():
        along = np.vdot(product, mean[module]) / np.vdot(mean[module], mean[module])
        assert along == pytest.approx(4.0, rel=0.1)


@pytest.mark.parametrize("name", ["overshoot", "copy-disguised"])
def test_two_attackers_after_one_victim_are_no_copies_of_each_other(
    name: str, scene: MakeScene, trained: Answers
) -> None:
    one, other = (
        sent(ADVERSARIES[name].fault(), scene(random=np.random.default_rng(seed)), trained)[0]
        for seed in range(2)
    )
    assert distance(one, other) > 0.05 * distance(one, trained[0][2])


def test_a_disguised_copy_is_nobodys_twin_and_near_its_victim(scene: MakeScene, trained: Answers) -> None:
    one = scene()
    forged, _ = sent(ADVERSARIES["copy-disguised"].fault(), one, trained)
    copied, _ = sent(ADVERSARIES["copy"].fault(), one, trained)
    assert one.victim is not None

    least = least_sine(_between(one, trained[0][2], one.state))
    assert sine(_between(one, one.victim.state, copied).between(0, 1)) <= least
    assert least < sine(_between(one, one.victim.state, forged).between(0, 1)) < 0.8


def test_attackers_in_relay_take_turns_and_are_honest_in_between(scene: MakeScene, trained: Answers) -> None:
    for round_ in range(6):
        hostile: list[int] = []
        for number in range(3):
            one = scene(round=round_, number=number)
            forged, _ = sent(ADVERSARIES["relay"].fault(), one, trained)
            pushed, _ = sent(ADVERSARIES["dissensus"].fault(), one, trained)
            if _equal(forged, pushed):
                hostile.append(number)
            else:
                assert _equal(forged, _published(trained[0][1], one))
        assert hostile == [round_ % 3]


def _between(scene: Scene, one: State, other: State):
    blueprint = scene.workshop.blueprint
    units = blueprint.own
    pieces = (OfferedPieces(blueprint.rank, units, blueprint.pieces(each, units)) for each in (one, other))
    return inner_products(blueprint, list(pieces))


def _published(trained: Trained, scene: Scene) -> State:
    state = scene.workshop.decoded(trained.update)
    assert state is not None
    return state


def _equal(one: State, other: State) -> bool:
    return all(np.array_equal(value, other[name]) for name, value in one.items())
