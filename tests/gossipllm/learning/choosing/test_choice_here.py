"""What a learner chooses when it opens: measured on its own model and text, within the bounds that were asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from gossipllm.config import AdapterConfig, LearnerConfig
from gossipllm.device.plan.choice import AUTOMATIC, BATCH, BROUGHT, RATE, STEPS, WARMUP, SettingsToChoose
from gossipllm.learning.jobs.jobs import Task
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import answer
from gossipllm.work import Open, Opened
from support.progress import silent

ASKED = SettingsToChoose(keys=(*AUTOMATIC, *BROUGHT), memory_bytes=4e9, neighbours=4, link_bytes_s=1e6)


def introduced(config: LearnerConfig, asked: SettingsToChoose | None) -> tuple[LearnerConfig, Opened]:
    learner, reply = answer(None, Open(request=1, config=config, snapshot=None, choosing=asked), silent)
    assert learner is not None
    assert isinstance(reply, Opened), reply
    return learner.config, reply


def test_a_learner_trains_with_what_it_chose(config: Callable[..., LearnerConfig]) -> None:
    given = config()
    trains, reply = introduced(given, ASKED)

    assert reply.chosen is not None
    settings = reply.chosen.settings
    assert set(settings) >= {BATCH, RATE, STEPS, WARMUP}
    assert trains.training == reply.chosen.training(given.training)
    assert trains.training.batch_windows == settings[BATCH] >= 1
    assert 0 < trains.training.learning_rate <= 8e-3


def test_a_setting_that_has_a_number_keeps_it(config: Callable[..., LearnerConfig]) -> None:
    trains, reply = introduced(config(), choosing_only(RATE))

    assert reply.chosen is not None
    assert set(reply.chosen.settings) == {RATE}
    assert trains.training.batch_windows == config().training.batch_windows


def test_a_learner_that_is_not_asked_measures_nothing(config: Callable[..., LearnerConfig]) -> None:
    trains, reply = introduced(config(), None)

    assert reply.chosen is None
    assert trains == config()


def test_the_defaults_stay_where_the_laws_were_not_fitted(config: Callable[..., LearnerConfig]) -> None:
    given = replace(config(), adapter=AdapterConfig(train="full"))
    trains, reply = introduced(given, ASKED)

    assert reply.chosen is not None
    assert reply.chosen.settings == {}
    assert trains == given


def test_no_pass_is_tried_that_the_memory_does_not_hold(
    config: Callable[..., LearnerConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def trial_step(learner: Learner) -> Task[float]:
        tried.append(learner.config.training.batch_windows)
        return 1e-3
        yield  # a task asks for nothing here

    monkeypatch.setattr(Learner, "trial_step", trial_step)

    introduced(config(), ASKED)
    assert max(tried) > 1
    tried.clear()
    introduced(config(), msgspec.structs.replace(ASKED, memory_bytes=1e3))
    assert set(tried) == {1}


def choosing_only(*keys: str) -> SettingsToChoose:
    return SettingsToChoose(keys=keys, memory_bytes=4e9, neighbours=4, link_bytes_s=1e6)
