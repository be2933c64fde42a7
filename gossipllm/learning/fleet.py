"""Adapters at work on one frozen base: trained, measured and asked for predictions, many in one pass.

The base is held once. An adapter is a vector of its trained tensors, one after the other, and P of them are
the rows of a matrix; their tensors in the layers are views of it. So what is done to all parameters (clipping,
AdamW, a cast) is one operation on a matrix, with each peer's own norm, rate and count of steps, and memory
grows by four vectors an adapter: itself, its gradient and two moments. Passes are cut so that the
activations they keep stay below `PASS_BYTES`, however many adapters there are.

Adapters and moments are float32. Where the base is bfloat16 the passes compute in it, from a copy of the
adapters cast once a step, and the gradients come back in it (8 bits of mantissa, as in mixed precision
training everywhere).

Axes: P adapters, N their parameters; W windows, S steps, B windows of a batch, T positions, V tokens of the
vocabulary.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar, cast

import numpy as np
import torch

from gossipllm.config import AdapterConfig
from gossipllm.learning.jobs import (
    Job,
    LastLogits,
    Losses,
    Predictions,
    Purpose,
    Slope,
    Sloped,
    Stepped,
    Steps,
)
from gossipllm.learning.losses import token_losses
from gossipllm.learning.optimiser import AdamW, Moments
from gossipllm.learning.predictions import largest, likeliest
from gossipllm.mistakes import UserMistake
from gossipllm.model.adapters import attach
from gossipllm.model.models import Base
from gossipllm.model.names import A, B, State
from gossipllm.text.data import Windows
from wire.floats import F32
from wire.logits import LogitRows, SparseRows
from wire.tensors import TensorSpec

PASS_BYTES: Final = 2**29
"""Memory that the activations of a training pass may take; one adapter's batch goes whole all the same. Guess."""
_LOGITS_AT_ONCE: Final = 2**24
"""Logits of a pass that only measures: 64 MB as float32. Guess."""
_REPORT_EVERY_S: Final = 0.3

Tensors: TypeAlias = Mapping[str, torch.Tensor]
J = TypeVar("J")


@dataclass(slots=True)
class Meter:
    """Tokens that went through the base, by purpose. A backward pass counts apart from its forward pass."""

    forward: Counter[str] = field(default_factory=Counter[str])
    backward: Counter[str] = field(default_factory=Counter[str])


class Fleet:
    """A base with room for adapters beside it. The layers hold what is being computed: one thread at a time."""

    def __init__(self, base: Base, config: AdapterConfig) -> None:
        self.base = base
        self.meter = Meter()
        self._vocabulary = base.vocabulary
        self._token_bytes = _training_bytes(base)
        attached = attach(base.model, config)
        self.blueprint = attached.blueprint
        self._layers = attached.layers
        trained = self.blueprint.trained.tensors
        self._places = _places(trained)
        self.parameters = sum(spec.count for spec in trained)
        names = {spec.name for spec in trained}
        self._fixed = {
            name: torch.tensor(value, dtype=base.dtype, device=base.device)[None]
            for name, value in (self.blueprint.shared.items() if len(names) < len(self._layers) * 2 else ())
            if name not in names
        }

    def perform(self, jobs: Sequence[Job]) -> list[Any]:
        """The result of each job, in order; an exception in its place where one failed by itself.

        Jobs of one kind and shape go through the base together.
        """
        alike: dict[tuple[Any, ...], list[int]] = {}
        for index, job in enumerate(jobs):
            alike.setdefault(_kind(job), []).append(index)
        results: dict[int, Any] = {}
        for members in alike.values():
            results.update(zip(members, self._together([jobs[index] for index in members]), strict=True))
        return [results[index] for index in range(len(jobs))]

    def _together(self, jobs: Sequence[Any]) -> Sequence[Any]:
        match jobs[0]:
            case Losses():
                return self._losses(jobs)
            case Predictions():
                return self._predictions(jobs)
            case LastLogits():
                return self._last_logits(jobs)
            case Steps():
                tokens = jobs[0].batches_SB.shape[1] * jobs[0].windows_WT.shape[1]
                return self._in_passes(self._steps, jobs, tokens)
            case Slope():
                return self._in_passes(self._slopes, jobs, jobs[0].windows_WT.size)
            case other:
                raise TypeError(f"the fleet knows no {other!r}")

    # -- measuring ----------------------------------------------------------------------------------

    def _losses(self, jobs: Sequence[Losses]) -> list[list[F32]]:
        states = [state for job in jobs for state in job.states]
        windows = [job.windows_WT for job in jobs for _ in job.states]
        losses = [
            token_losses(logits_BTV, tokens_BT).mean(dim=1).cpu().numpy()
            for logits_BTV, tokens_BT in self._forward(states, windows, jobs[0].purpose)
        ]
        by_state = iter(np.concatenate(losses).reshape(len(states), -1))
        return [[next(by_state) for _ in job.states] for job in jobs]

    def _predictions(self, jobs: Sequence[Predictions]) -> list[SparseRows]:
        passes = self._forward([job.state for job in jobs], [job.windows_WT for job in jobs], "evidence")
        parts = [likeliest(logits_BTV[:, :-1].flatten(0, 1), jobs[0].shape.top) for logits_BTV, _ in passes]
        ids, logs, tails = (np.concatenate(each) for each in zip(*parts, strict=True))
        return [SparseRows(ids[one], logs[one], tails[one]) for one in _cuts(jobs[0].shape.rows, len(jobs))]

    def _last_logits(self, jobs: Sequence[LastLogits]) -> list[LogitRows]:
        passes = self._forward(
            [job.state for job in jobs], [job.windows_WT for job in jobs], "evidence", last=True
        )
        parts = [largest(logits_BTV[:, -1], jobs[0].shape.top) for logits_BTV, _ in passes]
        ids, values = (np.concatenate(each) for each in zip(*parts, strict=True))
        return [LogitRows(ids[one], values[one]) for one in _cuts(jobs[0].shape.rows, len(jobs))]

    @torch.inference_mode()
    def _forward(
        self,
        states: Sequence[State],
        windows: Sequence[Windows],
        purpose: Purpose,
        *,
        last: bool = False,
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """`(logits_BTV, tokens_BT)`, adapter by adapter and window by window, as many at once as memory allows.

        With `last` there are logits of the last position only.
        """
        count, length = windows[0].shape
        at_once = max(1, _LOGITS_AT_ONCE // (length * self._vocabulary))
        adapters = max(1, at_once // count)
        for first in range(0, len(states), adapters):
            live_PN = self._vectors(states[first : first + adapters]).to(self.base.dtype)
            with self._mounted(self.views(live_PN)):
                for start in range(0, count, min(at_once, count)):
                    block_PBT = np.stack(
                        [one[start : start + at_once] for one in windows[first : first + adapters]]
                    )
                    tokens_BT = self.tokens(block_PBT)
                    self.meter.forward[purpose] += tokens_BT.numel()
                    yield self.logits(tokens_BT, last=last), tokens_BT

    # -- training -----------------------------------------------------------------------------------

    def _in_passes(
        self, work: Callable[[Sequence[J]], list[Any]], jobs: Sequence[J], tokens: int
    ) -> list[Any]:
        at_once = max(1, PASS_BYTES // (self._token_bytes * tokens))
        return [
            result for first in range(0, len(jobs), at_once) for result in work(jobs[first : first + at_once])
        ]

    def _steps(self, jobs: Sequence[Steps]) -> list[Stepped | UserMistake]:
        began = reported = time.perf_counter()
        theta_PN = self._vectors([job.state for job in jobs])
        adamw = AdamW(
            [job.config for job in jobs],
            first_PN=self._vectors([job.moments.first for job in jobs]),
            second_PN=self._vectors([job.moments.second for job in jobs]),
            taken=[job.moments.steps for job in jobs],
        )
        steps, size = jobs[0].batches_SB.shape
        tokens = size * (jobs[0].windows_WT.shape[1] - 1)
        total_P = torch.zeros(len(jobs), dtype=torch.float64, device=self.base.device)
        failures: dict[int, UserMistake] = {}
        slopes = _Slopes(self, len(jobs))
        with self._mounted(slopes.leaves):
            for step in range(steps):
                batch_PBT = np.stack([job.windows_WT[job.batches_SB[step]] for job in jobs])
                loss_P, gradient_PN = slopes.at(theta_PN, batch_PBT, "train")
                norm_P = adamw.step(theta_PN, gradient_PN)
                self._note_failures(failures, jobs, loss_P, norm_P, step)
                total_P += loss_P
                now = time.perf_counter()
                if now - reported >= _REPORT_EVERY_S or step == steps - 1:
                    reported = now
                    speed = tokens * (step + 1) / max(now - began, 1e-9)
                    for job, loss in zip(jobs, _numbers(loss_P), strict=True):
                        job.on_step(step + 1, loss, speed)
        seconds = time.perf_counter() - began
        states = self._states(theta_PN)
        memories = zip(self._states(adamw.first_PN), self._states(adamw.second_PN), adamw.taken, strict=True)
        return [
            failures.get(index)
            or Stepped(
                {**job.state, **state},
                Moments(taken, first, second),
                samples=steps * size,
                tokens=steps * tokens,
                loss=loss / max(steps, 1),
                seconds=seconds,
            )
            for index, (job, state, (first, second, taken), loss) in enumerate(
                zip(jobs, states, memories, _numbers(total_P), strict=True)
            )
        ]

    def _slopes(self, jobs: Sequence[Slope]) -> list[Sloped]:
        slopes = _Slopes(self, len(jobs))
        with self._mounted(slopes.leaves):
            loss_P, gradient_PN = slopes.at(
                self._vectors([job.state for job in jobs]), np.stack([job.windows_WT for job in jobs]), "row"
            )
        return [
            Sloped(loss, state)
            for loss, state in zip(_numbers(loss_P), self._states(gradient_PN), strict=True)
        ]

    @staticmethod
    def _note_failures(
        failures: dict[int, UserMistake],
        jobs: Sequence[Steps],
        loss_P: torch.Tensor,
        norm_P: torch.Tensor,
        step: int,
    ) -> None:
        # One look at the accelerator's numbers a step, not one for each adapter.
        if bool(torch.isfinite(loss_P + norm_P).all()):
            return
        for index, (job, loss, norm) in enumerate(zip(jobs, _numbers(loss_P), _numbers(norm_P), strict=True)):
            if not (math.isfinite(loss) and math.isfinite(norm)) and index not in failures:
                failures[index] = UserMistake(
                    f"training diverged in step {job.moments.steps + step} (loss {loss}, gradient {norm}); "
                    f"lower training.learning_rate, now {job.config.learning_rate}"
                )

    # -- adapters in the layers ---------------------------------------------------------------------

    @contextmanager
    def _mounted(self, tensors: Tensors) -> Generator[None]:
        for name, layer in self._layers.items():
            layer.b_POR = tensors[name + B]
            layer.a_PRI = tensors.get(name + A)
            if layer.a_PRI is None:
                layer.a_PRI = self._fixed[name + A].expand(len(layer.b_POR), -1, -1)
        try:
            yield
        finally:
            for layer in self._layers.values():
                layer.a_PRI = layer.b_POR = None

    def logits(self, tokens_BT: torch.Tensor, *, last: bool = False) -> torch.Tensor:
        output: Any = self.base.model(input_ids=tokens_BT, use_cache=False, logits_to_keep=int(last))
        return output.logits

    def tokens(self, windows_PBT: np.ndarray[Any, Any]) -> torch.Tensor:
        flat_BT = windows_PBT.reshape(-1, windows_PBT.shape[-1])
        return torch.tensor(flat_BT, dtype=torch.int64, device=self.base.device)

    def _vectors(self, states: Sequence[State]) -> torch.Tensor:
        """`(P, N)` float32; what a state lacks is zero, as moments are before the first step."""
        rows = np.zeros((len(states), self.parameters), np.float32)
        for row, state in zip(rows, states, strict=True):
            for name, (place, _) in self._places.items():
                if name in state:
                    row[place] = state[name].ravel()
        return torch.tensor(rows, device=self.base.device)

    def _states(self, theta_PN: torch.Tensor) -> list[dict[str, F32]]:
        rows = theta_PN.float().cpu().numpy()
        return [
            {name: row[place].reshape(shape).copy() for name, (place, shape) in self._places.items()}
            for row in rows
        ]

    def views(self, theta_PN: torch.Tensor) -> dict[str, torch.Tensor]:
        count = len(theta_PN)
        return {name: theta_PN[:, place].view(count, *shape) for name, (place, shape) in self._places.items()}


class _Slopes:
    """Losses and gradients of P adapters: the graph's leaves are views of one matrix."""

    def __init__(self, fleet: Fleet, adapters: int) -> None:
        self._fleet = fleet
        self._live_PN = torch.zeros(
            adapters, fleet.parameters, dtype=fleet.base.dtype, device=fleet.base.device
        )
        self.leaves = fleet.views(self._live_PN)
        for leaf in self.leaves.values():
            leaf.requires_grad_()

    def at(
        self, theta_PN: torch.Tensor, windows_PBT: np.ndarray[Any, Any], purpose: Purpose
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean loss of each adapter, `(P,)`, and its gradient, `(P, N)`, both float32."""
        with torch.no_grad():
            self._live_PN.copy_(theta_PN)
        tokens_BT = self._fleet.tokens(windows_PBT)
        logits_BTV = self._fleet.logits(tokens_BT)
        loss_P = token_losses(logits_BTV, tokens_BT).reshape(len(theta_PN), -1).mean(dim=1)
        # Adapters share no parameter, so the gradient of the sum is each one's own.
        slopes = torch.autograd.grad(loss_P.sum(), list(self.leaves.values()))
        self._fleet.meter.forward[purpose] += tokens_BT.numel()
        self._fleet.meter.backward[purpose] += tokens_BT.numel()
        return loss_P.detach(), torch.cat([slope.flatten(1) for slope in slopes], dim=1).float()


def _kind(job: Job) -> tuple[Any, ...]:
    """Jobs of equal kind can be performed together."""
    match job:
        case Losses():
            return (Losses, job.windows_WT.shape, job.purpose)
        case Predictions() | LastLogits():
            return (type(job), job.windows_WT.shape, job.shape)
        case Steps():
            return (Steps, job.batches_SB.shape, job.windows_WT.shape[1])
        case Slope():
            return (Slope, job.windows_WT.shape)


def _places(specs: Sequence[TensorSpec]) -> dict[str, tuple[slice, tuple[int, ...]]]:
    """Where each tensor lies in the vector, and its shape."""
    places: dict[str, tuple[slice, tuple[int, ...]]] = {}
    first = 0
    for spec in specs:
        places[spec.name] = (slice(first, first + spec.count), spec.shape)
        first += spec.count
    return places


def _numbers(values_P: torch.Tensor) -> list[float]:
    return cast("Any", values_P).tolist()


def _cuts(rows: int, count: int) -> list[slice]:
    return [slice(first, first + rows) for first in range(0, count * rows, rows)]


def _training_bytes(base: Base) -> int:
    """About what a training pass keeps of one token, from the sizes of a transformer's layers."""
    config = cast("Any", base.model.config).get_text_config()
    width = int(config.hidden_size)
    inner = int(getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * width)
    layers = int(config.num_hidden_layers)
    item = base.dtype.itemsize
    # A layer keeps about a dozen tensors of its width, some of them float32, and four of the inner width; the
    # head keeps the logits and their gradient.
    return layers * (width * (8 * item + 24) + inner * 4 * item) + base.vocabulary * 2 * item
