"""Fixtures for the tests of tasks: files to read, tiny bases of each family, and snapshots of peers on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gossipllm.config import AdapterConfig, ModelConfig
from gossipllm.model.adapter.placement import attach
from gossipllm.model.adapter.snapshots import Snapshot, SnapshotHeader
from gossipllm.model.loading.models import Base, base_fingerprint, load_base
from gossipllm.tasks.catalogue import SampleSource, TaskName, read_examples
from gossipllm.tasks.examples import Example
from support.task_files import Read


@pytest.fixture
def read(tmp_path: Path, tokenizer: Any) -> Read:
    """A function that writes a file of a task and reads it."""

    def reading(task: TaskName, text: str, pair: str = "") -> tuple[Example, ...]:
        file = tmp_path / "data"
        file.write_text(text, encoding="utf-8")
        return read_examples(SampleSource(task, pair, file), tokenizer, key="--data")

    return reading


@pytest.fixture
def base(model_folder: Callable[[str], Path]) -> Callable[..., Base]:
    """A function that loads a new base of a family. Noise is added to its weights, so that its answers differ."""

    def load(family: str = "llama") -> Base:
        made = load_base(
            ModelConfig(name=str(model_folder(family)), device="cpu", dtype="float32", threads=1)
        )
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for parameter in made.model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.15)
        return made

    return load


@pytest.fixture
def saved(model_folder: Callable[[str], Path]) -> Callable[..., Snapshot]:
    """A function that makes a snapshot on a base, with all trained tensors drawn at random."""

    def make(base: Base, train: Any = "both", *, seed: int = 0) -> Snapshot:
        name = str(model_folder("llama"))
        fingerprint = base_fingerprint(base.model)
        folder = base.model.name_or_path
        assert folder is not None
        twin = load_base(ModelConfig(name=folder, device="cpu", dtype="float32", threads=1))
        config = AdapterConfig(rank=4, alpha=8.0, train=train)
        blueprint = attach(twin.model, config).blueprint(config)
        draws = np.random.default_rng(seed)
        state = {
            spec.name: draws.normal(0, 0.2, spec.shape).astype(np.float32)
            for spec in blueprint.layout.tensors
        }
        header = SnapshotHeader(
            base=fingerprint,
            tokenizer=b"",
            layout=b"",
            model_name=name,
            rank=blueprint.rank,
            alpha=8.0,
            train=train,
            fan_in_fan_out=blueprint.fan_in_fan_out,
            round=1,
            steps=1,
        )
        return Snapshot(header, state, {}, {}, {})

    return make
