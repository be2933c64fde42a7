"""Runs learners on shared models: one learner on a device, or many in a simulation, with a model for each base.

Each answer is a generator that stops wherever it needs the model. Jobs of learners that stop at the same time are
performed together, so that the local steps or candidate merges of nine peers are one pass through the base instead of
nine. Learners whose adapters differ in rank or modules, or that train different parts, go through the same base one
group after the other, and so do learners of different bases.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

import msgspec
import numpy as np

from gossipllm.config import LearnerConfig, ModelConfig
from gossipllm.exhaustion import is_exhaustion
from gossipllm.learning.choosing.choice_here import choice_of
from gossipllm.learning.jobs.jobs import Job, Task
from gossipllm.learning.learner import Learner, OnProgress
from gossipllm.learning.passes.engine import PassCounter
from gossipllm.learning.passes.fleet import Fleet
from gossipllm.learning.preflight.model import account_of
from gossipllm.learning.shared_model import OnPhase, SharedModel, load_grown_text, load_shared_model
from gossipllm.model.loading.hub import download
from gossipllm.model.loading.models import Base
from gossipllm.model.loading.progress import loading_told
from gossipllm.text.reference import ReferenceSet
from gossipllm.text.windows import Splits
from gossipllm.work import Answer, Failed, Open, Opened, Progress, Request
from trust.errors import UserMistake
from wire.errors import WireError
from wire.floats import F32

OPENING_STEPS: Final = 5
R = TypeVar("R")


class LearnerPool:
    """The learners of a simulation. They share a configuration, except for text, seeds and what peers of one network
    may choose for themselves: the base model, rank and modules of adapters, block windows, heads.

    A further base is loaded when the first learner comes that has it.
    """

    def __init__(self, config: LearnerConfig, on_phase: OnPhase) -> None:
        self._config = config
        self._on_phase = on_phase
        self._shared: SharedModel = load_shared_model(config, on_phase)
        self._all: dict[ModelConfig, SharedModel] = {config.model: self._shared}

    @property
    def base(self) -> Base:
        """The base of the pool's own configuration."""
        return self._shared.base

    def base_of(self, config: LearnerConfig) -> Base:
        """The base that a learner of this configuration has. Raises `UserMistake`."""
        return self._shared_by(config).base

    @property
    def reference(self) -> ReferenceSet:
        return self._shared.reference

    @property
    def meter(self) -> PassCounter:
        return self._shared.meter

    def new_learner(self, config: LearnerConfig, splits: Splits) -> Learner:
        """Add a learner, on text that is already cut into splits. Raises `UserMistake`."""
        return Learner(config, self._shared_by(config), splits)

    def answer(self, questions: Sequence[tuple[Learner, Request]]) -> list[Answer]:
        """The answers, in the order of the requests. At most one request to each learner may change its adapter."""
        return together([(_safe(learner, request, _silent), learner) for learner, request in questions])

    def test_losses(self, learners: Sequence[Learner]) -> list[F32]:
        """For each learner the loss of each of its test windows under its adapter as it is now, `(W,)`."""
        return together([(learner.test_losses(), learner) for learner in learners])

    def perform(self, jobs: Sequence[Job]) -> list[Any]:
        """Perform jobs outside any learner, on adapters of the pool's configuration."""
        return self._shared.fleet(self._config.adapter).perform(jobs)

    def _shared_by(self, config: LearnerConfig) -> SharedModel:
        if config.model not in self._all:
            # One meter counts the passes of all bases.
            loaded = load_shared_model(config, self._on_phase)
            self._all[config.model] = replace(loaded, meter=self._shared.meter)
        return self._all[config.model]


def answer(
    learner: Learner | None, request: Request, on_progress: OnProgress
) -> tuple[Learner | None, Answer]:
    """Perform a request on a device. `Open` makes the learner; where it fails there is none."""
    if isinstance(request, Open):

        def on_phase(name: str, step: int) -> None:
            on_progress(opening(request.request, name, step))

        try:
            download(request.config.model.name, _downloaded(request.request, on_progress))
            with loading_told(_now_and_then(request.request, on_progress)):
                shared = load_shared_model(request.config, on_phase, alone=True)
            on_phase("text", 3)
            splits, ledger = load_grown_text(request.config, shared.base, request.text)
            learner = Learner(request.config, shared, splits, ledger)
            chosen = None
            if request.choosing is not None:
                on_phase("pace", 4)
                (chosen,) = together([(choice_of(request.config, shared, splits, request.choosing), learner)])
                config = replace(request.config, training=chosen.training(request.config.training))
                learner = Learner(config, shared, splits, ledger)
        except Exception as error:  # noqa: BLE001  raised again unless it was expected
            return None, _failed(request, error)
        on_phase("first loss", OPENING_STEPS - 1)
        (reply,) = together([(_safe(learner, request, on_progress), learner)])
        if isinstance(reply, Opened):
            account: tuple[str, ...] = ()
            if splits.account is not None:
                found = account_of(learner.config, shared.base, shared.attached)
                account = (*splits.account.lines(names=False), *found.lines())
            reply = msgspec.structs.replace(reply, account=account, chosen=chosen)
        return (None if isinstance(reply, Failed) else learner), reply
    if learner is None:
        raise ValueError("the first request must be Open")
    (reply,) = together([(_safe(learner, request, on_progress), learner)])
    return learner, reply


def _now_and_then(request: int, on_progress: OnProgress) -> Callable[[int, int], None]:
    """A callback that reports how many of the base's weights are loaded, at most five times a second: a model has up to
    thousands of tensors."""
    last_s = 0.0

    def told(done: int, total: int) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= 0.2:
            last_s = time.monotonic()
            on_progress(
                Progress(request=request, phase="weights", step=done, steps=total, loss=0.0, tokens_per_s=0.0)
            )

    return told


def _downloaded(request: int, on_progress: OnProgress) -> Callable[[int, int], None]:
    """A callback that reports how many MB of the model are here."""

    def told(done: int, total: int) -> None:
        on_progress(
            Progress(
                request=request,
                phase="download, MB",
                step=done // 10**6,
                steps=-(-total // 10**6),
                loss=0.0,
                tokens_per_s=0.0,
            )
        )

    return told


def opening(request: int, phase: str, step: int) -> Progress:
    """How far `Open` is."""
    return Progress(request=request, phase=phase, step=step, steps=OPENING_STEPS, loss=0.0, tokens_per_s=0.0)


def together(tasks: Sequence[tuple[Task[R], Learner]]) -> list[R]:
    """Run all tasks to their ends, side by side. Each job goes to the fleet that its learner has at the time, because
    opening a snapshot of a pruned adapter changes it."""
    answers: dict[int, R] = {}
    waiting: dict[int, Job | tuple[Job, ...]] = {}

    def go_on(index: int, result: Any) -> None:
        try:
            task, _ = tasks[index]
            waiting[index] = task.throw(result) if isinstance(result, Exception) else task.send(result)
        except StopIteration as stop:
            answers[index] = stop.value

    for index in range(len(tasks)):
        go_on(index, None)
    while waiting:
        asked = dict(waiting)
        waiting.clear()
        jobs = {
            (index, place): job
            for index, what in asked.items()
            for place, job in enumerate(what if isinstance(what, tuple) else (what,))
        }
        results: dict[tuple[int, int], Any] = {}
        for fleet, members in _by_fleet(tasks, jobs).items():
            results.update(zip(members, _performed(fleet, [jobs[one] for one in members]), strict=True))
        for index, what in asked.items():
            if isinstance(what, tuple):
                several = [results[index, place] for place in range(len(what))]
                go_on(index, next((one for one in several if isinstance(one, Exception)), several))
            else:
                go_on(index, results[index, 0])
    return [answers[index] for index in range(len(tasks))]


def _by_fleet(
    tasks: Sequence[tuple[Task[Any], Learner]], jobs: Mapping[tuple[int, int], Job]
) -> dict[Fleet, list[tuple[int, int]]]:
    members: dict[Fleet, list[tuple[int, int]]] = {}
    for (index, place), job in jobs.items():
        members.setdefault(tasks[index][1].fleet_for(job), []).append((index, place))
    return members


def _performed(fleet: Fleet, jobs: Sequence[Job]) -> list[Any]:
    """The results, or the one exception that stopped all jobs, once for each job."""
    try:
        return fleet.perform(jobs)
    except (MemoryError, RuntimeError) as error:
        return [error] * len(jobs)


def _safe(learner: Learner, request: Request, on_progress: OnProgress) -> Task[Answer]:
    """The learner's answer; an expected exception becomes `Failed` with one line, an unexpected one is raised."""
    try:
        return (yield from learner.answer(request, on_progress))
    except Exception as error:  # noqa: BLE001  raised again unless it was expected
        return _failed(request, error)


def _failed(request: Request, error: Exception) -> Failed:
    """`Failed` for an exception that can be expected; any other is raised again."""
    if isinstance(error, UserMistake):
        return Failed(request=request.request, why=str(error), users_fault=True)
    if isinstance(error, WireError):
        return Failed(request=request.request, why=f"a neighbour's content: {error}", users_fault=False)
    if isinstance(error, np.linalg.LinAlgError):
        return Failed(request=request.request, why=f"the merge: {error}", users_fault=False)
    if is_exhaustion(error):
        line = " ".join(str(error).split())[:200] or type(error).__name__
        return Failed(request=request.request, why=line, users_fault=False)
    raise error


def _silent(_: Progress) -> None:
    pass
