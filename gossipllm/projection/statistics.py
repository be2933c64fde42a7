"""What two models do with one text, as the sums that a linear regression needs.

Each matched pair of layers has two regressions: of the small layer's input on the large one's, and of the large
layer's output on the small one's. A regression needs only the sums X'X, X'Y and Y'Y over the matched positions, so no
hidden states are kept; the pairs are taken in groups whose sums fit a budget, each with a pass of both models over the
text. A fifth of the windows is held out, in sums of its own, to choose the ridge by.

Outputs are compared after their means are taken away: an adapter adds a change, and of a change the mean says nothing.
Inputs are not, because a low-rank product has no constant to make up for it.

Axes: N matched positions, X the numbers predicted from, Y those predicted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import torch

from gossipllm.model.adapter.selection.selection import sizes_of
from gossipllm.model.loading.models import Base
from gossipllm.model.running import logits_of
from gossipllm.projection.positions import shared_positions, spans_of

HELD_OUT: Final = 5
"""One window in so many is held out."""

OnProgress = Callable[[int, int], None]
"""Called with the windows read and the windows to read, over all passes."""


@dataclass(frozen=True, slots=True)
class Window:
    """The tokens of a window of text in both models, and the positions that they share."""

    small: list[int]
    large: list[int]
    at_small: list[int]
    at_large: list[int]


@dataclass(slots=True, eq=False)
class Sums:
    """Sums over positions of a regression from x to y, in float64."""

    n: int = 0
    x_X: torch.Tensor = field(default_factory=lambda: torch.zeros(()))
    y_Y: torch.Tensor = field(default_factory=lambda: torch.zeros(()))
    xx_XX: torch.Tensor = field(default_factory=lambda: torch.zeros(()))
    xy_XY: torch.Tensor = field(default_factory=lambda: torch.zeros(()))
    yy: float = 0.0

    def add(self, x_NX: torch.Tensor, y_NY: torch.Tensor) -> None:
        x_NX, y_NY = x_NX.double(), y_NY.double()
        self.n += len(x_NX)
        self.x_X = self.x_X + x_NX.sum(0)
        self.y_Y = self.y_Y + y_NY.sum(0)
        self.xx_XX = self.xx_XX + x_NX.T @ x_NX
        self.xy_XY = self.xy_XY + x_NX.T @ y_NY
        self.yy += float(y_NY.square().sum())

    def about_zero(self) -> tuple[torch.Tensor, torch.Tensor, float]:
        """X'X, X'Y and the sum of squares of y, a position."""
        return self.xx_XX / self.n, self.xy_XY / self.n, self.yy / self.n

    def about_means(self) -> tuple[torch.Tensor, torch.Tensor, float]:
        """The covariances of x with itself and with y, and the variance of y, summed over its numbers."""
        xx_XX, xy_XY, yy = self.about_zero()
        x_X, y_Y = self.x_X / self.n, self.y_Y / self.n
        return xx_XX - torch.outer(x_X, x_X), xy_XY - torch.outer(x_X, y_Y), yy - float(y_Y.square().sum())


@dataclass(slots=True, eq=False)
class PairSums:
    """Of one pair of layers: inputs of the large layer to those of the small one, outputs the other way round; each to
    fit and to check."""

    inputs: tuple[Sums, Sums] = field(default_factory=lambda: (Sums(), Sums()))
    outputs: tuple[Sums, Sums] = field(default_factory=lambda: (Sums(), Sums()))


def windows_of(small: Base, large: Base, texts: Iterable[str], *, characters: int) -> list[Window]:
    """Both models' tokens of texts cut into pieces of about this many characters at ends of lines, without pieces that
    share no position. Raises `UserMistake` for a tokenizer that does not say where its tokens stand."""
    found: list[Window] = []
    for piece in _pieces(texts, characters):
        one, spans_small = spans_of(small.tokenizer, piece, "the small model")
        other, spans_large = spans_of(large.tokenizer, piece, "the large model")
        one, spans_small = one[: small.context_length], spans_small[: small.context_length]
        other, spans_large = other[: large.context_length], spans_large[: large.context_length]
        at_small, at_large = shared_positions(spans_small, spans_large)
        if at_small:
            found.append(Window(one, other, at_small, at_large))
    return found


@torch.no_grad()
def pair_sums(
    small: Base,
    large: Base,
    pairs: Mapping[str, str],
    windows: Sequence[Window],
    *,
    budget_mb: int,
    on_progress: OnProgress,
) -> Iterator[tuple[str, PairSums]]:
    """The sums of each pair of layers, in the order of `pairs`; each may be forgotten before the next is taken."""
    groups = list(_groups(small, large, pairs, budget_mb))
    for number, group in enumerate(groups):
        sums = {name: PairSums() for name in group}
        for read, window in enumerate(windows):
            seen_small = _seen(small, {pairs[name] for name in group}, window.small, window.at_small)
            seen_large = _seen(large, group, window.large, window.at_large)
            held_out = read % HELD_OUT == HELD_OUT - 1
            for name in group:
                x_small, y_small = seen_small[pairs[name]]
                x_large, y_large = seen_large[name]
                sums[name].inputs[held_out].add(x_large, x_small)
                sums[name].outputs[held_out].add(y_small, y_large)
            on_progress(number * len(windows) + read + 1, len(groups) * len(windows))
        yield from sums.items()


def _pieces(texts: Iterable[str], characters: int) -> Iterator[str]:
    for text in texts:
        piece = ""
        for line in text.splitlines(keepends=True):
            if piece and len(piece) + len(line) > characters:
                yield piece
                piece = ""
            piece += line
        if piece.strip():
            yield piece


def _seen(
    base: Base, names: Iterable[str], tokens: Sequence[int], at: Sequence[int]
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Inputs and outputs of these layers at these positions."""
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def watch(name: str) -> Callable[..., None]:
        def hook(_module: torch.nn.Module, given: tuple[Any, ...], made: torch.Tensor) -> None:
            seen[name] = given[0][0, list(at)], made[0, list(at)]

        return hook

    with ExitStack() as stack:
        for name in names:
            handle = base.model.get_submodule(name).register_forward_hook(watch(name))
            stack.callback(handle.remove)
        logits_of(base.model, torch.tensor([list(tokens)], device=base.device), last=True)
    return seen


def _groups(small: Base, large: Base, pairs: Mapping[str, str], budget_mb: int) -> Iterator[list[str]]:
    group, taken = list[str](), 0
    for name, other in pairs.items():
        (o_large, i_large), (o_small, i_small) = _sizes(large, name), _sizes(small, other)
        # Twice, for what is held out.
        mb = 2 * 8 * (i_large * (i_large + i_small) + o_small * (o_small + o_large)) // 2**20 + 1
        if group and taken + mb > budget_mb:
            yield group
            group, taken = [], 0
        group.append(name)
        taken += mb
    if group:
        yield group


def _sizes(base: Base, name: str) -> tuple[int, int]:
    """Outputs and inputs of a layer."""
    inputs, outputs = sizes_of(base.model.get_submodule(name))
    return outputs, inputs
