"""What stops a learner is one line that names it, and what it was stays as it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import (
    load_file,  # pyright: ignore[reportUnknownVariableType] - typed in part
    save_file,  # pyright: ignore[reportUnknownVariableType] - typed in part
)

from gossipllm.config import AdapterConfig, DataConfig, LearnerConfig, ModelConfig, TrainingConfig
from gossipllm.learning.learner_pool import answer
from gossipllm.model.adapter.snapshots import decode_snapshot, encode_snapshot
from gossipllm.work import (
    Answer,
    Failed,
    Open,
    Train,
    Trained,
)
from support.learners import ask, opened, train
from support.progress import silent
from wire.digest import Content

Config = Callable[..., LearnerConfig]


@pytest.mark.parametrize(
    ("family", "adapter", "says"),
    [
        ("qwen2", {"rank": 4, "alpha": 8.0}, "another base model"),
        ("llama", {"rank": 2}, "another form of adapter"),
    ],
)
def test_a_snapshot_of_something_else_names_both(
    config: Config, neighbour: Trained, family: str, adapter: dict[str, Any], says: str
) -> None:
    other = config(family, adapter=AdapterConfig(**adapter))

    failed = _reply(Open(request=7, config=other, snapshot=neighbour.snapshot))

    assert isinstance(failed, Failed)
    assert failed.users_fault
    assert says in failed.why
    assert "there," in failed.why


def test_bytes_that_are_no_snapshot_are_the_users_matter(config: Config, neighbour: Trained) -> None:
    for data in (b"", b"GLS1", b"x" * 100, neighbour.snapshot.data[:-7]):
        failed = _reply(Open(request=7, config=config(), snapshot=Content.of(data)))
        assert isinstance(failed, Failed)
        assert "no snapshot" in failed.why


def test_steps_that_memory_does_not_suffice_for_leave_everything_as_it_was(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = opened(config())
    before = train(learner, 1).snapshot

    def full(*_: object) -> Any:
        raise MemoryError("no memory for this batch")

    monkeypatch.setattr("gossipllm.learning.passes.fleet.local_steps", full)
    failed: Failed = ask(learner, Train(request=8, round=2, steps=5))

    assert failed == Failed(request=8, why="no memory for this batch", users_fault=False)
    assert learner.snapshot() == before


def test_a_rate_that_blows_up_says_which_setting_to_lower(config: Config, neighbour: Trained) -> None:
    saved = decode_snapshot(neighbour.snapshot.data)
    huge = replace(saved, adapter={name: np.full_like(v, 1e30) for name, v in saved.adapter.items()})
    training = replace(TrainingConfig(), learning_rate=1.0, warmup_steps=0)
    learner = opened(config(training=training), snapshot=Content.of(encode_snapshot(huge)))
    before = learner.snapshot()

    failed: Failed = ask(learner, Train(request=8, round=1, steps=2))

    assert failed.users_fault
    assert "training.learning_rate" in failed.why
    assert learner.snapshot() == before


def test_missing_text_is_the_users_mistake(config: Config) -> None:
    failed = _reply(
        Open(request=1, config=config(data=DataConfig(path="/nowhere.txt", window_tokens=24)), snapshot=None)
    )

    assert failed == Failed(
        request=1, why="data.path: there is no file or folder /nowhere.txt", users_fault=True
    )


def _reply(request: Open) -> Answer:
    return answer(None, request, silent)[1]


def test_weights_of_the_base_that_are_no_numbers_are_named_and_not_the_learning_rate(
    config: Config, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(model_folder("llama"), tmp_path / "model"))
    weights: dict[str, Any] = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    settings = replace(
        config(), model=ModelConfig(name=str(folder), device="cpu", dtype="float32", threads=1)
    )

    learner, reply = answer(None, Open(request=1, config=settings, snapshot=None), silent)

    assert learner is None
    assert isinstance(reply, Failed)
    assert reply.users_fault
    assert "its weight model.layers.1.mlp.down_proj.weight holds numbers that are not finite" in reply.why
