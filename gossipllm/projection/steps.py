"""A step for each kind of layer, chosen on text.

What a projection loses adds up over layers, and it loses more in attention than in the layers that write to the
residual stream (sim/FINDINGS.md), so one step for all is too long for some kinds and too short for others. Here each
kind of layer (queries, keys, values, the output of attention, gate, up, down) has its own, from `ETAS`, 0 among them:

    the kinds are tried by themselves, and ordered by what each gains
    in that order, each takes the step of least loss, the others being as they are; twice, or until nothing changes

No step is taken that costs text of the larger model's own more than `MOST` of its loss, where such text is given.

Every other window of a text chooses, the rest judge: with so many choices, the loss on what chose them is no result.

Axes: W windows, T tokens of a window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from gossipllm.learning.measuring.own_text import MOST
from gossipllm.model.adapter.peft_folder import Product
from gossipllm.model.loading.models import Base
from gossipllm.projection.matching import kind_of
from gossipllm.projection.statistics import OnProgress
from gossipllm.tasks.likelihood import sample_nats
from gossipllm.text.windows import Windows, cut, tokenise
from gossipllm.vectors.arithmetic import Combined
from trust.errors import UserMistake

ETAS: Final = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 4.0)
"""Steps that are tried. Guess."""
SWEEPS: Final = 2
WINDOW_TOKENS: Final = 128
LEAST_WINDOWS: Final = 8
MOST_WINDOWS: Final = 64
"""Windows of a text that are read, half of which choose. Guess."""

Etas = Mapping[str, float]
"""Kind of layer -> step."""


@dataclass(frozen=True, slots=True)
class Steps:
    """`before` and `after` are losses in nats a token on the windows that judge, `error` the standard error of their
    difference. `alone` is the gain of each kind by itself at its best step, on the windows that choose. `own` is by how
    much of itself the loss on the own text rises, on windows that chose nothing; None where none was given."""

    etas: Etas
    alone: Mapping[str, float]
    before: float
    after: float
    error: float
    own: float | None = None

    def told(self) -> Iterator[str]:
        """Lines for people: a kind of layer each, then what all do together."""
        yield "steps by kind of layer, and what each gains by itself, in nats a token of the text that chose:"
        for kind, eta in self.etas.items():
            yield f"  {kind:<18} {eta:<5g} {self.alone[kind]:+.4f}"
        change = f"{self.before:.4f} -> {self.after:.4f}, {self.after - self.before:+.4f} ± {self.error:.4f}"
        yield f"together on text that chose nothing: {change}"
        if self.own is not None:
            yield f"own text that chose nothing: {100 * self.own:+.2f} %"


def judging_windows(text: str, base: Base, option: str = "--trust") -> Windows:
    """Windows of a text that chooses and judges, which was given with this option. Raises `UserMistake` where it is too
    short."""
    windows_WT = cut(tokenise([text], base.tokenizer), min(WINDOW_TOKENS, base.context_length))
    if len(windows_WT) < LEAST_WINDOWS:
        raise UserMistake(
            f"{option}: {len(windows_WT)} windows of {WINDOW_TOKENS} tokens; at least {LEAST_WINDOWS} are needed to "
            "choose steps by"
        )
    return windows_WT[:MOST_WINDOWS]


def chosen_steps(
    step: Combined,
    large: Base,
    windows_WT: Windows,
    *,
    own_WT: Windows | None = None,
    on_progress: OnProgress = lambda _done, _of: None,
) -> Steps:
    """The steps to take of each kind of layer of `step`, which has the length 1. `own_WT` are windows of the larger
    model's own text."""
    kinds = sorted({kind_of(module) for module in step.products})
    etas = dict.fromkeys(kinds, 0.0)
    most, done = (1 + SWEEPS) * len(kinds) * len(ETAS), 0
    with _moving(large, step.products, etas):

        def loss(of: Windows) -> float:
            return float(_losses(large, of).mean())

        def spares_own() -> bool:
            return own_WT is None or loss(own_WT[::2]) <= (1 + MOST) * own_before

        def tried(kind: str) -> dict[float, float]:
            """The loss at each step of this kind, the others being as they are; infinite where the least so far would
            cost the own text too much."""
            nonlocal done
            kept, losses, least = etas[kind], dict[float, float](), math.inf
            for eta in ETAS:
                etas[kind] = eta
                found = loss(choosing_WT)
                lowest = found < least
                allowed = not lowest or eta == kept or spares_own()
                losses[eta] = found if allowed else math.inf
                least = min(least, losses[eta])
                done += 1
                on_progress(done, most)
            etas[kind] = kept
            return losses

        choosing_WT, judging_WT = windows_WT[::2], windows_WT[1::2]
        before_W = _losses(large, judging_WT)
        own_before, own_judged = (0.0, 0.0) if own_WT is None else (loss(own_WT[::2]), loss(own_WT[1::2]))
        single = {kind: tried(kind) for kind in kinds}
        alone = {kind: losses[0.0] - min(losses.values()) for kind, losses in single.items()}
        for _ in range(SWEEPS):
            earlier = dict(etas)
            for kind in sorted(kinds, key=lambda kind: -alone[kind]):
                losses = tried(kind)
                etas[kind] = min(ETAS, key=lambda eta: losses[eta])
            if etas == earlier:
                break
        after_W = _losses(large, judging_WT)
        own = None if own_WT is None else loss(own_WT[1::2]) / own_judged - 1
    change_W = after_W - before_W
    return Steps(
        etas=dict(etas),
        alone=alone,
        before=float(before_W.mean()),
        after=float(after_W.mean()),
        error=float(change_W.std(ddof=1) / len(change_W) ** 0.5),
        own=own,
    )


def taken(step: Combined, etas: Etas) -> Combined:
    """The step, each layer at the length of its kind; layers of length 0 are left out. Raises `UserMistake` where none
    is left."""
    products = {
        module: Product(one.a_RI, np.float32(etas[kind_of(module)]) * one.b_OR, one.scale)
        for module, one in step.products.items()
        if etas[kind_of(module)]
    }
    if not products:
        raise UserMistake(
            "--eta auto: no step of any kind of layer lowers the loss on --trust; nothing was written"
        )
    return Combined(products, step.rank, step.error)


def _losses(base: Base, windows_WT: Windows) -> np.ndarray[Any, np.dtype[np.float64]]:
    """`(W,)`, nats a token."""
    nats = sample_nats(base, list(windows_WT), lambda _: None)
    return np.array(nats) / (windows_WT.shape[1] - 1)


@contextmanager
def _moving(base: Base, products: Mapping[str, Product], etas: Etas) -> Generator[None]:
    """Inside, each layer adds its product times the step of its kind, as `etas` has it at that time. No weight is
    changed."""

    def adding(module: str, one: Product) -> Callable[..., torch.Tensor | None]:
        a_IR = torch.tensor(one.a_RI.T, device=base.device)
        b_RO = torch.tensor(one.scale * one.b_OR.T, device=base.device)
        kind = kind_of(module)

        def hook(_module: torch.nn.Module, given: tuple[Any, ...], made: torch.Tensor) -> torch.Tensor | None:
            return made + etas[kind] * (given[0] @ a_IR @ b_RO) if etas[kind] else None

        return hook

    handles = [
        base.model.get_submodule(module).register_forward_hook(adding(module, one))
        for module, one in products.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
