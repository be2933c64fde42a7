"""The table of methods: each name becomes a configuration that the peers accept."""

from __future__ import annotations

import numpy as np
import pytest

from gossipllm.config import AdapterConfig, HeadsConfig, LayersConfig, ReferenceConfig, TrainingConfig
from peers.core.config import RoundConfig
from peers.core.plateau import SettleConfig
from sim.experiments.configurations import core_config, training_of
from sim.experiments.method_settings import (
    DECAY_PATIENCE,
    adapter_of,
    heads_of,
    layers_of,
    reference_of,
    round_of,
    settle_of,
)
from sim.experiments.methods import CHANGES, METHODS, method_named, trust_of
from sim.experiments.scenarios import Scenario
from sim.world.devices import DevicesConfig
from trust.errors import UserMistake
from trust.rows.config import TrustConfig, evidence_of

ALL = (*METHODS, "s1*s3", "s1*s2*s3")


def trust(name: str) -> TrustConfig:
    return trust_of(method_named(name), TrustConfig(), fixed={"peer-1": 0.25})


@pytest.mark.parametrize("name", ALL)
def test_every_method_is_a_configuration_that_trust_accepts(name: str) -> None:
    trust(name)
    reference_of(method_named(name), ReferenceConfig())


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("change", CHANGES)
def test_every_change_applies_to_every_method_or_says_why_not(name: str, change: str) -> None:
    if why := refusal(name, change):
        with pytest.raises(UserMistake, match=why):
            method_named(f"{name}+{change}")
        return
    method = method_named(f"{name}+{change}")
    AdapterConfig(start=method.start or "shared", train=method.train or "both")


WITHOUT_ROWS = ("local", "pooled", "everybody", "local-code", "pushsum")


def refusal(name: str, change: str) -> str:
    lone = change in ("share-a", "alternate")
    if (lone or change in ("frozen", "heads")) and name.endswith("-code"):
        return "shared start"
    if lone and name == "pushsum":
        return "no whole adapter"
    if change in ("layers", "heads") and name == "pushsum":
        return "whole adapters"
    if (lone or change in ("layers", "heads")) and name in ("s1-text", "s1-code"):
        return "whole adapters"
    if change in ("nesterov", "noloco") and name in WITHOUT_ROWS:
        return "merges by a row"
    if change == "tokens" and name in (
        "local",
        "pooled",
        "everybody",
        "local-code",
        "theoretical",
        "pushsum",
    ):
        return "no row to weigh"
    if change == "alone" and name in WITHOUT_ROWS:
        return "no row to record"
    if change in ("distil", "distiltext", "selfdistil", "reftext") and (
        method_named(name).guard is False or name in WITHOUT_ROWS
    ):
        return "distilling needs a row"
    if change == "decay" and (method_named(name).guard is False or name == "pushsum"):
        return "needs the guard"
    return ""


def test_methods_train_everything_and_weigh_no_tokens_unless_they_say_so() -> None:
    layers, heads = LayersConfig(count=1), HeadsConfig(copies=2)
    for name in METHODS:
        method = method_named(name)
        assert not layers_of(method, layers).partial
        assert heads_of(method, heads).copies == 0
        weighed = trust_of(method, TrustConfig(tokens_power=2.0), fixed={}).tokens_power
        assert weighed == (2.0 if name == "tokens" else 0.0)


def test_the_scenarios_tables_say_how_much_of_what_a_change_names() -> None:
    layers, heads = LayersConfig(count=2, sampling="uniform"), HeadsConfig(copies=3)
    assert layers_of(method_named("s3+layers"), layers) == layers
    assert heads_of(method_named("s3+heads"), heads) == heads
    assert layers_of(method_named("s3+layers+self"), layers).missing == "self"
    assert layers_of(method_named("s3+heads+self"), layers) == LayersConfig(missing="self")
    assert trust("s3+tokens").tokens_power == 1.0
    assert adapter_of(method_named("s3+heads"), AdapterConfig()).train == "heads"
    assert adapter_of(method_named("s3"), AdapterConfig(train="heads")).train == "heads"


def test_what_a_method_measures_is_what_its_name_says() -> None:
    assert evidence_of(trust("s1")) == ("weights",)
    assert evidence_of(trust("s2-code")) == ("perplexity",)
    assert evidence_of(trust("s3-text")) == ("logits",)
    assert evidence_of(trust("s1*s3")) == ("weights", "predictions")
    assert evidence_of(trust("learned")) == evidence_of(trust("fedavg")) == ()


@pytest.mark.parametrize("name", ["s1+distil", "s2+selfdistil", "s1+alone+distil"])
def test_a_method_that_distils_reads_predictions_whatever_it_compares(name: str) -> None:
    reference = ReferenceConfig(windows=50, window_tokens=64)
    assert reference_of(method_named(name), reference) == reference


@pytest.mark.parametrize(
    "name", ["s1+layers+distil", "s3+heads+distil", "s1+beside+distil", "s1+share-a+distil"]
)
def test_distilling_is_into_whole_adapters(name: str) -> None:
    with pytest.raises(UserMistake, match="steps on whole adapters"):
        method_named(name)


def test_only_the_theoretical_rows_know_who_holds_what() -> None:
    assert trust("theoretical").fixed == ("peer-1=0.25",)
    assert trust("fedavg").fixed == trust("s3").fixed == ()


@pytest.mark.parametrize("name", ["local", "fedavg", "theoretical", "s1", "s2", "learned", "fomo", "s1*s2"])
def test_a_method_that_reads_no_predictions_does_not_pay_for_them(name: str) -> None:
    reference = reference_of(method_named(name), ReferenceConfig(windows=50, window_tokens=64))
    assert (reference.windows, reference.window_tokens, reference.top) == (1, 2, 1)


@pytest.mark.parametrize("name", ["s3", "s1*s3", "s3+updates"])
def test_a_method_that_reads_predictions_has_the_scenarios_reference_set(name: str) -> None:
    reference = ReferenceConfig(windows=50)
    assert reference_of(method_named(name), reference) == reference


@pytest.mark.parametrize("name", [name for name in METHODS if "-" in name])
def test_the_published_forms_have_no_guard_and_average_the_factors(name: str) -> None:
    method = method_named(name)
    assert (method.guard, method.merge, method.mixing) == (False, "mean", "parameters")
    assert method.start == ("own" if name.endswith("-code") else None)


def test_the_published_predictions_are_raw_logits_at_last_positions() -> None:
    reference = reference_of(method_named("s3-code"), ReferenceConfig())
    assert (reference.windows, reference.positions, reference.top) == (200, "last", 100)


def test_plain_averaging_averages_over_everybody_however_few_partners_others_have() -> None:
    few = RoundConfig(most_partners=4)
    assert round_of(method_named("fedavg"), few, peers=30).most_partners == 29
    assert round_of(method_named("s3"), few, peers=30).most_partners == 4
    assert round_of(method_named("fedavg"), few, peers=10_000).most_partners == 256


def test_changes_follow_each_other() -> None:
    method = method_named("s3+mean+noguard+updates")
    assert (method.merge, method.guard, method.mixing) == ("mean", False, "updates")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("fedavgg", "did you mean fedavg?"),
        ("s3+gard", "did you mean guard?"),
        ("s1*local", "a product is of s1, s2, s3"),
        ("s1*s1", "different"),
        ("s3+layers+heads", "+layers and +heads exclude each other"),
        ("", "known are local"),
    ],
)
def test_a_mistyped_method_is_told_the_nearest_name(name: str, part: str) -> None:
    with pytest.raises(UserMistake) as mistake:
        method_named(name)
    assert part in str(mistake.value)
    assert "\n" not in str(mistake.value)


def test_three_times_the_steps_or_the_batch_take_a_schedule_of_the_same_length() -> None:
    scenario = Scenario(round=RoundConfig(steps=5, rounds=4), training=TrainingConfig(batch_windows=2))
    plain, steps, batch = (
        training_of(method_named(name), scenario, seed=1)
        for name in ("local", "local+steps3", "local+batch3")
    )
    assert round_of(method_named("local+steps3"), scenario.round, peers=3).steps == 15
    assert (plain.decay_steps, steps.decay_steps, batch.decay_steps) == (20, 60, 20)
    assert (plain.batch_windows, steps.batch_windows, batch.batch_windows) == (2, 2, 6)


def test_devices_of_unequal_steps_take_schedules_of_unequal_length() -> None:
    scenario = Scenario(round=RoundConfig(steps=5, rounds=4), devices=DevicesConfig(steps=(3, 12)))
    method = method_named("local")
    lengths = [training_of(method, scenario, seed=1, index=index).decay_steps for index in range(3)]
    assert lengths == [12, 48, 12]
    steps = [core_config(scenario, method, 0, index, np.eye(9)).round.steps for index in range(3)]
    assert steps == [3, 12, 3]
    assert scenario.steps == 12


def test_a_warm_up_must_be_shorter_than_the_run_of_the_device_with_the_fewest_steps() -> None:
    with pytest.raises(ValueError, match="below the 8 steps"):
        Scenario(
            round=RoundConfig(steps=5, rounds=4),
            devices=DevicesConfig(steps=(2, 12)),
            training=TrainingConfig(warmup_steps=10),
        )


def test_decay_takes_a_constant_rate_to_lower_and_three_times_the_rounds_without_a_barrier() -> None:
    scenario = Scenario(round=RoundConfig(steps=5, rounds=4, barrier=True))
    method = method_named("s1+decay")
    assert training_of(method, scenario, seed=1).decay_steps == 0
    rounds = round_of(method, scenario.round, peers=3)
    assert (rounds.rounds, rounds.steps, rounds.barrier) == (12, 5, False)
    settle = settle_of(method, scenario.settle, guard=True)
    assert (settle.schedule, settle.patience) == ("decay", DECAY_PATIENCE)
    assert settle_of(method, SettleConfig(patience=6), guard=True).patience == 6


@pytest.mark.parametrize("name", ["fedavg+decay", "pushsum+decay", "s1+rowguard+decay", "s3-text+decay"])
def test_decay_is_for_those_who_can_go_back_to_their_best_state(name: str) -> None:
    with pytest.raises(UserMistake, match="decay needs the guard"):
        method_named(name)
