"""A fixture for the tests of chat: a tiny base model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gossipllm.config import ModelConfig
from gossipllm.model.loading.models import Base, load_base


@pytest.fixture
def base(model_folder: Callable[[str], Path]) -> Base:
    return load_base(ModelConfig(name=str(model_folder("llama")), device="cpu", dtype="float32", threads=1))
