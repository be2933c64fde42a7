"""The tools of an attacker: arithmetic on adapters, encoding, and passes through the model.

No torch here; a pass is a job that the attacker's fleet performs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gossipllm.config import LearnerConfig
from gossipllm.learning.jobs.jobs import StepsJob, Task, losses_of, slope_of, stepped
from gossipllm.learning.jobs.moments import Moments
from gossipllm.learning.measuring.measuring import Measuring
from gossipllm.learning.merging.distances.distances import Blob
from gossipllm.learning.merging.stack import completed
from gossipllm.learning.merging.updates import UpdateFormat
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import A, B, State
from gossipllm.text.windows import Splits
from trust.errors import UserMistake
from trust.rows.evidence import prediction_distance
from wire.digest import Content
from wire.errors import WireError
from wire.floats import F32
from wire.predictions.logits import SparseRows
from wire.updates.units import Offer

if TYPE_CHECKING:
    # The table of attacks is read by commands, which must not load torch.
    from gossipllm.learning.learner import Learner

R = TypeVar("R")


class Workshop:
    """What an attacker can compute with its own learner's model, text and codec."""

    def __init__(self, learner: Learner, config: LearnerConfig, splits: Splits) -> None:
        self._learner = learner
        self._config = config
        self._splits = splits
        self._measuring = Measuring(config, splits, learner.shared.reference)

    @property
    def blueprint(self) -> Blueprint:
        """The structure of the attacker's adapter. Its rank falls where adapters are pruned."""
        return self._learner.fleet.blueprint

    # -- arithmetic on adapters ---------------------------------------------------------------------

    def untouched(self) -> dict[str, F32]:
        """The initial adapter of all peers, which changes nothing of the base."""
        return {name: value.copy() for name, value in self.blueprint.shared.items()}

    def scaled(self, state: State, factor: float) -> dict[str, F32]:
        """The adapter whose products, or differences from the base, are `factor` times those of `state`."""
        trained = self._trained
        # Of two trained factors, only B is scaled.
        carrying = {
            name for name in trained if not (name.endswith(A) and name.removesuffix(A) + B in trained)
        }
        return {
            name: value * np.float32(factor) if name in carrying else value for name, value in state.items()
        }

    def each(self, state: State, change: Callable[[str, F32], NDArray[np.floating[Any]]]) -> dict[str, F32]:
        """The adapter with every trained tensor changed."""
        trained = self._trained
        return {
            name: np.asarray(change(name, value), np.float32) if name in trained else value
            for name, value in state.items()
        }

    def noisy(self, state: State, times: float, random: np.random.Generator) -> dict[str, F32]:
        """The adapter under Gaussian noise of a standard deviation `times` the root mean square of each tensor."""

        def under_noise(_: str, value: F32) -> F32:
            size = float(np.sqrt(np.mean(np.square(value, dtype=np.float64))))
            return value + random.normal(0.0, times * size, value.shape).astype(np.float32)

        return self.each(state, under_noise)

    def size(self, state: State) -> float:
        """The norm of all products and differences together."""
        total = 0.0
        for name, value in state.items():
            if name.endswith(B):
                a_RI = state[name.removesuffix(B) + A].astype(np.float64)
                b_OR = value.astype(np.float64)
                # |B A|^2 from the two small Gram matrices, without the product.
                total += float(np.sum((b_OR.T @ b_OR) * (a_RI @ a_RI.T)))
            elif not name.endswith(A):
                total += float(np.sum(np.square(value, dtype=np.float64)))
        return math.sqrt(max(total, 0.0))

    @property
    def _trained(self) -> frozenset[str]:
        return frozenset(spec.name for spec in self.blueprint.trained.tensors)

    # -- the codec ----------------------------------------------------------------------------------

    def encoded(self, state: State, start: State, offer: Offer) -> Content:
        """An update with the units that `offer` names, as the learner itself would send them."""
        updates = UpdateFormat(self.blueprint, self._config.mixing)
        return Content.of(updates.encoded(state, start, updates.schema.indices(offer)))

    def decoded(self, update: Content) -> State | None:
        """Another peer's adapter in this peer's form; None where it cannot be read."""
        updates = UpdateFormat(self.blueprint, self._config.mixing)
        try:
            return completed(updates.decoded(update.data), self._learner.state, self.blueprint)
        except WireError:
            return None

    # -- passes through the model -------------------------------------------------------------------

    def predictions(self, state: State) -> bytes | None:
        """The adapter's predictions on the reference set, as peers send them; None where they are not finite."""
        try:
            return self.run(self._measuring.predicted(state))[1]
        except UserMistake:
            return None

    def losses(self, states: Sequence[State]) -> list[float]:
        """The adapters' mean losses on the attacker's own trust split."""
        found = self.run(losses_of(tuple(states), self._measuring.trust_WT, "trust"))
        return [self._measuring.trust_loss(losses_W) for losses_W in found]

    def slope(self, state: State) -> State:
        """The gradient of the mean loss on the attacker's own training text, with respect to the adapter."""
        return self.run(slope_of(state, self._splits.train_WT, self._config.training.reduction)).gradient

    def trained(self, state: State, *, steps: int, rate: float) -> State:
        """The adapter after so many more steps of AdamW on the attacker's own training text, at a constant rate."""
        windows_WT = self._splits.train_WT
        config = replace(
            self._config.training,
            learning_rate=rate,
            warmup_steps=0,
            decay_steps=0,
            schedule="linear",
            optimiser="adamw",
        )
        batches_SB = np.arange(steps * config.windows_of(windows_WT.shape[1])).reshape(steps, -1) % len(
            windows_WT
        )
        job = StepsJob(state, Moments(), windows_WT, batches_SB, config, _unheard)
        return self.run(stepped(job)).state

    def predicted(self, state: State) -> Blob | None:
        """The adapter's predictions, decoded; None where they are not finite."""
        try:
            return self.run(self._measuring.predicted(state))[0]
        except UserMistake:
            return None

    def run(self, task: Task[R]) -> R:
        """Perform a task to its end, beside what the pool answers."""
        try:
            job = next(task)
            while True:
                assert not isinstance(job, tuple), "attackers ask for one thing at a time"
                (result,) = self._learner.fleet.perform([job])
                job = task.throw(result) if isinstance(result, Exception) else task.send(result)
        except StopIteration as stop:
            return stop.value


def _unheard(_step: int, _loss: float, _tokens_per_s: float) -> None:
    """Progress that nobody watches."""


def averaged(states: Sequence[State]) -> dict[str, F32]:
    """The mean of adapters of one form, tensor by tensor."""
    return {
        name: np.stack([state[name] for state in states]).mean(axis=0, dtype=np.float64).astype(np.float32)
        for name in states[0]
    }


def distance(one: State, other: State) -> float:
    """The Euclidean distance of two adapters of one form, all tensors as one vector."""
    return length_of({name: value - other[name] for name, value in one.items()})


def length_of(state: State) -> float:
    """The Euclidean length of all tensors as one vector."""
    return math.sqrt(math.fsum(float(np.sum(np.square(one, dtype=np.float64))) for one in state.values()))


def predicted_distance(one: Blob | None, other: Blob | None) -> float:
    """The distance of two adapters' predictions, as receivers measure it. Infinite where one is missing, and 0 where
    the network's evidence is not made of log-probabilities."""
    if one is None or other is None:
        return math.inf
    if not (isinstance(one, SparseRows) and isinstance(other, SparseRows)):
        return 0.0
    return prediction_distance(one, other).mean
