"""Each fault does what its name says, measured on the bytes that neighbours receive."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gossipllm.learning.jobs.jobs import last_logits_of
from gossipllm.text.windows import Splits
from sim.adversaries.fault import Scene
from sim.adversaries.faults.backdoor import Backdoor, target, triggered
from sim.adversaries.faults.idle.free_rider import StaleFreeRider
from sim.adversaries.faults.label_flip import LabelFlip
from sim.adversaries.table import ADVERSARIES
from sim.adversaries.workshop import Workshop, averaged, distance
from support.adversaries import CONFIG, Answers, MakeScene, products, sent, splits
from wire.predictions.logits import RowsShape

ROUNDING = 1 / 128
"""Relative error of a number in bfloat16, at most."""


@pytest.mark.parametrize("name", ADVERSARIES)
def test_every_forgery_passes_the_codec_with_finite_numbers(
    name: str, scene: MakeScene, trained: Answers
) -> None:
    for one in (scene(), scene(known={})):
        forged, _ = sent(ADVERSARIES[name].fault(), one, trained)

        assert all(np.isfinite(value).all() for value in forged.values())


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("sign-flip", -1.0),
        ("sign-flip-10", -10.0),
        ("scale-product", 90.0),
        ("scale-factors", 8100.0),
        ("bait", -1.0),
    ],
)
def test_products_are_multiplied(name: str, times: float, scene: MakeScene, trained: Answers) -> None:
    one = scene()
    forged, _ = sent(ADVERSARIES[name].fault(), one, trained)
    honest = products(one.state)

    for module, product in products(forged).items():
        expected = times * honest[module]
        size = float(np.abs(expected).max())
        assert size > 0
        assert np.abs(product - expected).max() <= 4 * ROUNDING * size


@pytest.mark.parametrize("name", ["free-zero", "copy-evidence"])
def test_an_adapter_of_zeros_is_zeros(name: str, scene: MakeScene, trained: Answers) -> None:
    forged, _ = sent(ADVERSARIES[name].fault(), scene(), trained)

    assert not any(value.any() for value in forged.values())


def test_noise_is_thirty_times_as_large_as_what_it_hides(scene: MakeScene, trained: Answers) -> None:
    one = scene()
    forged, _ = sent(ADVERSARIES["noise"].fault(), one, trained)

    for name, value in one.state.items():
        if value.size > 1000 and value.any():
            assert 25 < np.std(forged[name]) / np.sqrt(np.mean(value**2)) < 35


def test_huge_numbers_are_near_the_largest_of_the_codec(scene: MakeScene, trained: Answers) -> None:
    forged, _ = sent(ADVERSARIES["huge"].fault(), scene(), trained)

    assert all(np.abs(value).min() > 2.9e38 for value in forged.values())


def test_a_stale_free_rider_repeats_its_first_adapter(scene: MakeScene, trained: Answers) -> None:
    fault = StaleFreeRider()
    first, _ = sent(fault, scene(), trained)
    later, _ = sent(fault, scene(round=5, state=trained[1][0].state), trained)

    assert all(np.array_equal(first[name], later[name]) for name in first)


def test_dissensus_lies_beyond_its_victim_seen_from_the_mean(scene: MakeScene, trained: Answers) -> None:
    one = scene()
    forged, _ = sent(ADVERSARIES["dissensus"].fault(), one, trained)
    states = [each.state for each in one.known.values()]
    assert one.victim is not None

    for name, value in forged.items():
        mean = np.mean([state[name] for state in states], axis=0)
        expected = one.victim.state[name] + 1.5 * (one.victim.state[name] - mean)
        assert np.abs(value - expected).max() <= ROUNDING * np.abs(expected).max()


def test_alie_lies_one_deviation_below_the_mean_of_three(scene: MakeScene, trained: Answers) -> None:
    one = scene()
    forged, _ = sent(ADVERSARIES["alie"].fault(), one, trained)
    states = [each.state for each in one.known.values()]

    for name, value in forged.items():
        stacked = np.stack([state[name] for state in states])
        expected = stacked.mean(axis=0) - stacked.std(axis=0)
        assert np.abs(value - expected).max() <= ROUNDING * np.abs(expected).max() + 1e-8


@pytest.mark.parametrize(("name", "strength"), [("ipm", 0.1), ("ipm-10", 10.0)])
def test_ipm_points_against_the_honest_mean(
    name: str, strength: float, scene: MakeScene, trained: Answers
) -> None:
    one = scene()
    forged, _ = sent(ADVERSARIES[name].fault(), one, trained)
    states = [each.state for each in one.known.values()]
    mean = {key: np.mean([state[key] for state in states], axis=0) for key in forged}
    expected = products(mean)

    for module, product in products(forged).items():
        assert np.vdot(product, expected[module]) < 0
        assert np.linalg.norm(product) == pytest.approx(
            strength * np.linalg.norm(expected[module]), rel=4 * ROUNDING
        )


@pytest.mark.parametrize("name", ["bait", "copy", "copy-evidence"])
def test_copied_predictions_are_the_victims_bytes(name: str, scene: MakeScene, trained: Answers) -> None:
    one = scene(number=1)
    _, evidence = sent(ADVERSARIES[name].fault(), one, trained)

    assert one.victim is one.known["peer-1"]
    assert evidence == predictions_of(one, "peer-1")


@pytest.mark.parametrize("name", ["bait", "copy", "copy-evidence", "replay"])
def test_predictions_that_were_not_fetched_are_made_with_the_victims_adapter(
    name: str, scene: MakeScene, trained: Answers
) -> None:
    known = {peer: replace(one, evidence=None) for peer, one in scene().known.items()}
    one = scene(known=known)

    _, evidence = sent(ADVERSARIES[name].fault(), one, trained)

    assert evidence == one.workshop.predictions(known["peer-0"].state)


def test_a_copy_is_the_victims_update_bit_for_bit(scene: MakeScene, trained: Answers) -> None:
    one = scene()
    forgery = ADVERSARIES["copy"].fault().forged(one)

    update = one.workshop.encoded(forgery.state, forgery.start, trained[0][1].offer)

    assert update.digest == trained[1][1].update.digest


def test_attackers_without_news_of_honest_peers_have_no_victim(scene: MakeScene) -> None:
    assert scene(known={}).victim is None


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("bait-and-switch", [1, 1, 1, -1, -1]),
        ("alternation", [1, -1, 1, -1, 1]),
        ("drift", [1, 0.75, 0.5, 0.25, 0]),
    ],
)
def test_timed_attackers_follow_their_schedule(
    name: str, times: list[float], scene: MakeScene, trained: Answers
) -> None:
    fault = ADVERSARIES[name].fault()
    for round_, expected in enumerate(times):
        one = scene(round=round_)
        forged, _ = sent(fault, one, trained)
        for module, product in products(forged).items():
            honest = products(one.state)[module]
            size = float(np.abs(honest).max())
            assert np.abs(product - expected * honest).max() <= 4 * ROUNDING * size
    assert [fault.is_hostile(round_) for round_ in range(len(times))] == [time != 1 for time in times]


def test_a_replay_stays_with_the_first_it_heard(scene: MakeScene, trained: Answers) -> None:
    fault, one = ADVERSARIES["replay"].fault(), scene()
    first, evidence = sent(fault, one, trained)
    others = dict.fromkeys(one.known, one.known["peer-2"])
    later, still = sent(fault, scene(round=1, known=others), trained)

    assert evidence == still == predictions_of(one, "peer-0")
    assert all(np.array_equal(first[name], later[name]) for name in first)


def test_forged_predictions_are_of_no_adapter_that_was_published(scene: MakeScene, trained: Answers) -> None:
    one = scene()
    forged, evidence = sent(ADVERSARIES["forged-evidence"].fault(), one, trained)

    assert evidence is not None
    assert evidence != one.workshop.predictions(forged)
    assert evidence not in {predictions_of(one, peer) for peer in one.known}


def test_claims_are_inflated_beyond_any_device(trained: Answers) -> None:
    claimed = ADVERSARIES["claims"].fault().claimed(trained[0][1])

    assert claimed.tokens == claimed.samples == 2**40
    assert claimed.update == trained[0][1].update


def test_the_adaptive_attacker_does_harm_within_the_honest_spread(scene: MakeScene, trained: Answers) -> None:
    one = scene()
    forged, evidence = sent(ADVERSARIES["adaptive"].fault(), one, trained)
    honest = [each.state for each in one.known.values()]
    mean = averaged(honest)
    rounding = 1 + 2 * ROUNDING

    assert evidence is None, "its predictions are those of its update: they can be recomputed"
    assert distance(mean, forged) <= rounding * max(distance(mean, state) for state in honest)
    assert one.workshop.size(forged) <= rounding * max(map(one.workshop.size, honest))
    better, worse = one.workshop.losses([mean, forged])
    assert better < worse <= rounding * max(one.workshop.losses(honest))


def test_the_backdoor_teaches_its_target_after_its_trigger_in_every_second_window() -> None:
    windows = np.arange(10, 90, dtype=np.int32).reshape(4, 20)
    taught = Backdoor().text(Splits(windows, windows, windows), vocabulary=1000).train_WT

    for number, (window, before) in enumerate(zip(taught, windows, strict=True)):
        if number % 2:
            assert window.tolist() == before.tolist()
        else:
            for at in np.flatnonzero(window == 997):
                assert window[at : at + 4].tolist() == [997, 998, 999, 500]
            assert (window != before).sum() == 3 * 4
    assert triggered(windows, vocabulary=1000)[:, -3:].tolist() == [[997, 998, 999]] * 4


def test_the_attacker_itself_has_the_backdoor(scene: MakeScene, trained: Answers) -> None:
    """On random words, which it must have learned to interrupt."""
    vocabulary, one = 4096, scene()
    taught = Backdoor().text(splits(0), vocabulary=vocabulary)
    workshop = Workshop(trained[0][0], CONFIG, taught)
    forgery = Backdoor().forged(replace(one, workshop=workshop))
    ends = triggered(splits(9).test_WT, vocabulary=vocabulary)
    shape = RowsShape(rows=len(ends), top=1, vocabulary=vocabulary, raw=True)

    honest = workshop.run(last_logits_of(one.state, ends, shape))
    hostile = workshop.run(last_logits_of(forgery.state, ends, shape))

    assert (honest.ids_RK != target(vocabulary)).all()
    assert (hostile.ids_RK == target(vocabulary)).all()


def test_label_flip_swaps_words_and_keeps_what_bears_no_loss() -> None:
    windows = np.array([[0, 5, ~7, 9]], np.int32)
    flipped = LabelFlip().text(Splits(windows, windows, windows), vocabulary=10)

    assert flipped.train_WT.tolist() == [[9, 4, ~2, 0]]
    assert flipped.trust_WT is windows


def predictions_of(one: Scene, peer: str) -> bytes:
    evidence = one.known[peer].evidence
    assert evidence is not None, "scenes have predictions unless a test takes them away"
    return evidence.data
