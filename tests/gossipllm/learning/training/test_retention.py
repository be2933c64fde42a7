"""Forgetting of the reference set, reported in each round, and what lowers it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gossipllm.config import (
    AdapterConfig,
    DataConfig,
    LayersConfig,
    LearnerConfig,
    ReferenceConfig,
    TrainingConfig,
)
from gossipllm.config.choices import Retain
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import answer
from gossipllm.work import Merge, Merged, Open, Train, Work
from support.progress import silent
from wire.digest import Content

Config = Callable[..., LearnerConfig]


@pytest.fixture(scope="module")
def other_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Text that the reference set has nothing of."""
    path = tmp_path_factory.mktemp("other") / "other.txt"
    path.write_text("\n".join(f"{number * 7919 % 10007} {number * 104729 % 9973}" for number in range(1500)))
    return path


def ask(learner: Learner, request: Work) -> Any:
    return answer(learner, request, silent)[1]


def opened(config: LearnerConfig, snapshot: Content | None = None) -> Learner:
    learner, _ = answer(None, Open(request=1, config=config, snapshot=snapshot), silent)
    assert learner is not None
    return learner


def rounds(learner: Learner, count: int, *, first: int = 1) -> list[Merged]:
    found: list[Merged] = []
    for number in range(first, first + count):
        ask(learner, Train(request=2, round=number, steps=10))
        reply = ask(learner, Merge(request=3, row=(1.0,), updates=()))
        assert isinstance(reply, Merged)
        found.append(reply)
    return found


def settings(config: Config, retain: Retain, strength: float = 1.0, **sections: Any) -> LearnerConfig:
    made = config(
        training=TrainingConfig(
            batch_windows=4, learning_rate=1e-2, warmup_steps=0, retain=retain, retain_strength=strength
        ),
        reference=ReferenceConfig(source=config().reference.source, windows=8, window_bytes=32, top=128),
    )
    return replace(made, **sections)


def after_two_texts(config: Config, other: Path, retain: Retain, strength: float = 1.0) -> list[Merged]:
    """The rounds of a learner that learned the reference's kind of text, and goes on with another kind."""
    learned = rounds(opened(settings(config, "")), 4)[-1].snapshot
    data = DataConfig(path=str(other), window_tokens=24, trust_windows=8, test_windows=8)
    return rounds(opened(settings(config, retain, strength, data=data), learned), 3, first=5)


def test_nothing_is_measured_unless_it_is_asked_for(config: Config) -> None:
    assert rounds(opened(settings(config, "")), 1)[0].forgotten is None


def test_a_learner_whose_text_changes_forgets_and_one_whose_text_does_not_forgets_less(
    config: Config, other_text: Path
) -> None:
    same = rounds(opened(settings(config, "measure")), 4)
    changed = after_two_texts(config, other_text, "measure")
    assert all(one.forgotten is not None and one.forgotten >= 0 for one in (*same, *changed))
    assert changed[-1].forgotten is not None
    assert same[-1].forgotten is not None
    assert changed[-1].forgotten > 0.05
    assert changed[-1].forgotten > 3 * same[-1].forgotten


@pytest.mark.parametrize(("retain", "strength"), [("predictions", 30.0), ("subspace", 1.0)])
def test_what_is_retained_is_forgotten_less(
    config: Config, other_text: Path, retain: Retain, strength: float
) -> None:
    free = after_two_texts(config, other_text, "measure")[-1]
    kept = after_two_texts(config, other_text, retain, strength)[-1]
    assert free.forgotten is not None
    assert kept.forgotten is not None
    assert kept.forgotten < 0.8 * free.forgotten


def test_a_fresh_adapter_has_no_span_to_keep_off(config: Config) -> None:
    kept, free = (opened(settings(config, retain)) for retain in ("subspace", ""))
    first = [rounds(one, 1)[0].trust_loss for one in (kept, free)]
    assert first[0] == first[1]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"layers": LayersConfig(count=1)}, "layers.count = 0"),
        ({"mixing": "beside"}, "merge.mixing"),
        ({"reference": ReferenceConfig(positions="last")}, "reference.positions"),
        ({"adapter": AdapterConfig(train="full")}, 'adapter.train = "both"'),
    ],
)
def test_what_retaining_cannot_go_with_is_refused_by_name(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=f'training.retain = "subspace".*{why}'):
        LearnerConfig(training=TrainingConfig(retain="subspace"), **changes)


@pytest.mark.parametrize(
    ("retain", "strength"), [("subspace", 1.5), ("predictions", 0.0), ("predictions", 101.0)]
)
def test_the_strength_has_bounds(retain: Retain, strength: float) -> None:
    with pytest.raises(ValueError, match="retain_strength must be in"):
        TrainingConfig(retain=retain, retain_strength=strength)
