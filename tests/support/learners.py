"""One learner on a device, asked one thing at a time."""

from __future__ import annotations

from typing import Any

from gossipllm.config import LearnerConfig
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import answer
from gossipllm.work import Open, Opened, Train, Trained, Work
from support.progress import silent
from wire.digest import Content


def opened(config: LearnerConfig, snapshot: Content | None = None) -> Learner:
    return introduced(config, snapshot)[0]


def introduced(config: LearnerConfig, snapshot: Content | None = None) -> tuple[Learner, Opened]:
    learner, reply = answer(None, Open(request=1, config=config, snapshot=snapshot), silent)
    assert isinstance(reply, Opened), reply
    assert learner is not None
    return learner, reply


def ask(learner: Learner, request: Work) -> Any:
    return answer(learner, request, silent)[1]


def train(learner: Learner, number: int, steps: int = 5) -> Trained:
    return ask(learner, Train(request=2, round=number, steps=steps))
