"""Tests of opening a learner on a model whose own code fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gossipllm.config import LearnerConfig
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import together
from gossipllm.learning.shared_model import load_shared_model, load_text
from gossipllm.work import Open
from support.progress import silent
from trust.errors import UserMistake


def test_a_model_that_cannot_compute_its_first_loss_is_named(config: Callable[..., LearnerConfig]) -> None:
    made = config()
    shared = load_shared_model(made, silent)
    learner = Learner(made, shared, load_text(made, shared.base))

    def failing(*_: Any, **__: Any) -> Any:
        raise RuntimeError("expected m1 and m2 to have the same dtype")

    model: Any = shared.base.model
    model.model.norm.forward = failing

    with pytest.raises(
        UserMistake, match=r"LlamaForCausalLM does not compute windows of 24 tokens in float32 \(expected m1"
    ):
        together([(learner.answer(Open(request=1, config=made, snapshot=None), silent), learner)])
