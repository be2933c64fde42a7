"""The account of a model: what is adapted of it, what training will take, and whether PEFT takes the export.

`gossipllm init`, `doctor` and `run` print the same lines. No torch here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trust.counting import counted, in_bytes

PEFT_TAKES = "yes"
"""The value of `ModelAccount.peft` where the installed peft takes the export."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A kind of modules, as `q_proj`, and the weights that they hold."""

    kind: str
    modules: int
    weights: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAccount:
    """What a run does with its model. All of it follows from the configuration; memory and disk are estimates."""

    family: str
    blocks: int
    weights: int
    dtype: str
    device: str
    held: str
    """How the frozen weights are held (`ModelConfig.held`)."""
    context: int
    """The most tokens that the model reads at a time, 0 for no limit."""
    window_tokens: int
    adapted: tuple[Share, ...]
    left: tuple[Share, ...]
    """The kinds that are not adapted, the largest first."""
    reasons: tuple[str, ...]
    """Lines on modules that were asked for, or stand for such, and cannot be adapted."""
    trained: int
    """Numbers that are trained."""
    rank: int
    memory_bytes: int
    """What a training step holds beside the interpreter and its libraries; 0 where there is no estimate."""
    base_bytes: int
    disk_bytes: int
    """What a home's state will take."""
    update_bytes: int
    """What each neighbour's update takes in a home that keeps them."""
    warm: str = ""
    """What became of the adapter to start from; empty for none."""
    peft: str = ""
    """`PEFT_TAKES`, or why the installed peft does not take the export; empty where that was not asked."""

    def lines(self) -> tuple[str, ...]:
        return tuple(self._lines())

    def _lines(self) -> Iterator[str]:
        blocks = f" in {counted(self.blocks, 'block')}" if self.blocks else ""
        held = "" if self.held == "whole" else f", held in {self.held}"
        yield f"model: {self.family}, {counted(self.weights, 'weight')}{blocks}, {self.dtype} on {self.device}{held}"
        inside, count = sum(one.weights for one in self.adapted), sum(one.modules for one in self.adapted)
        kinds = ", ".join(f"{one.modules} {one.kind}" for one in self.adapted)
        rank = f" at rank {self.rank}" if self.rank else ""
        yield (
            f"adapter: {counted(count, 'module')} with {_share(inside, self.weights)} of the weights ({kinds}); "
            f"trains {counted(self.trained, 'number')}{rank}, {_share(self.trained, self.weights)}"
        )
        left = [one for one in self.left if one.weights >= 0.01 * self.weights]
        if left:
            named = ", ".join(f"{one.kind} {_share(one.weights, self.weights)}" for one in left)
            yield f"not adapted: {named} of the weights"
        yield from self.reasons
        if self.warm:
            yield self.warm
        each = in_bytes(self.update_bytes)
        takes = f"disk about {in_bytes(self.disk_bytes)} in the home, and {each} for each neighbour"
        if self.memory_bytes:
            takes = (
                f"memory about {in_bytes(self.memory_bytes)} in a training step (of it {in_bytes(self.base_bytes)} the "
                f"model), beside some 400 MB of libraries; {takes}"
            )
        yield f"needs (estimates): {takes}"
        if self.peft == PEFT_TAKES:
            yield "export: peft takes it"  # that it does not is a warning


def _share(part: int, whole: int) -> str:
    percent = 100 * part / max(whole, 1)
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"
