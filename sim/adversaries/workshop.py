"""The tools of an attacker: arithmetic on adapters, encoding, and passes through the model.

No torch here; a pass is a job that the attacker's fleet performs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gossipllm.config import LearnerConfig
from gossipllm.learning.jobs import Task
from gossipllm.learning.measuring import Measuring
from gossipllm.learning.merging.stack import completed
from gossipllm.learning.merging.updates import UpdateFormat
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import A, B, State
from gossipllm.text.windows import Splits
from trust.errors import UserMistake
from wire.digest import Content
from wire.errors import WireError
from wire.floats import F32
from wire.units import Offer

if TYPE_CHECKING:
    # The table of attacks is read by commands, which must not load torch.
    from gossipllm.learning.learner import Learner

R = TypeVar("R")


class Workshop:
    """What an attacker can compute with its own learner's model, text and codec."""

    def __init__(self, learner: Learner, config: LearnerConfig, splits: Splits) -> None:
        self._learner = learner
        self._config = config
        self.splits = splits
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

    def loss(self, state: State) -> float:
        """The adapter's mean loss on the attacker's own trust split."""
        return self._measuring.trust_loss(self.run(self._measuring.trust_losses(state)))

    def run(self, task: Task[R]) -> R:
        """Perform a task to its end, beside what the pool answers."""
        try:
            job = next(task)
            while True:
                (result,) = self._learner.fleet.perform([job])
                job = task.throw(result) if isinstance(result, Exception) else task.send(result)
        except StopIteration as stop:
            return stop.value


def averaged(states: Sequence[State]) -> dict[str, F32]:
    """The mean of adapters of one form, tensor by tensor."""
    return {
        name: np.stack([state[name] for state in states]).mean(axis=0, dtype=np.float64).astype(np.float32)
        for name in states[0]
    }
