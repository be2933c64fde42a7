"""From vectors and the names of two models to the step of the larger one, with what is to be said about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from gossipllm.config import ModelConfig, ReferenceConfig
from gossipllm.model.loading.models import Base, load_base
from gossipllm.projection.projecting import Lars, check_base, projected, stepped
from gossipllm.projection.statistics import OnProgress, windows_of
from gossipllm.projection.ways import Way
from gossipllm.text.reading.contents import read_text
from gossipllm.text.reference import reference_texts
from gossipllm.vectors.arithmetic import Combined
from gossipllm.vectors.vector import TaskVector
from trust.counting import counted
from trust.errors import UserMistake

WINDOW_CHARACTERS = 512
"""Characters of a window of text. Guess: enough before most positions for both models to know the language."""
LEAST_POSITIONS = 256
"""Positions that two models must share in a text. Guess: below that, held-out text says nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """`step` is what the larger model is moved by, of `vectors`, each already its own."""

    step: Combined
    vectors: Sequence[TaskVector]
    left: tuple[str, ...]
    explained: Mapping[str, tuple[float, float]]
    positions: int

    def told(self) -> Iterator[str]:
        """Lines about the maps, for people: by block of the larger model, and what was left out."""
        blocks: dict[str, list[tuple[float, float]]] = {}
        for module, shares in self.explained.items():
            number = next((part for part in module.split(".") if part.isdecimal()), "")
            blocks.setdefault(number, []).append(shares)
        if blocks:
            yield f"maps from {self.positions:,} positions; explained of held-out text, the median of a block's layers:"
        for number, shares in blocks.items():
            inputs, outputs = (median(one) for one in zip(*shares, strict=True))
            yield f"  block {number}: inputs {inputs:.0%}, outputs {outputs:.0%}"
        if self.left:
            yield f"left out, because nothing stands for them: {', '.join(self.left)}"


def texts_of(path: Path | None) -> list[str]:
    """The text of a file, or the embedded reference texts. Raises `UserMistake` where the file is no text."""
    return [read_text(path, "--text")] if path else list(reference_texts(ReferenceConfig()).values())


def models(small: str, large: str, vectors: Sequence[TaskVector]) -> tuple[Base, Base]:
    """Load both, in float32 on the processor. Raises `UserMistake` where one cannot be loaded or is not the base."""
    one = load_base(ModelConfig(name=small, device="cpu", dtype="float32"))
    for vector in vectors:
        check_base(vector, one, small)
    return one, load_base(ModelConfig(name=large, device="cpu", dtype="float32"))


def carried(
    vectors: Sequence[TaskVector],
    alphas_V: Sequence[float],
    small: Base,
    large: Base,
    names: tuple[str, str],
    *,
    way: Way,
    texts: Sequence[str],
    eta: float,
    lars: Lars | None = None,
    rank: int = 0,
    seed: int = 0,
    on_progress: OnProgress = lambda _done, _of: None,
) -> Carried:
    """Carry vectors of the small model over. `texts` are for `ridge` alone; `names` are those of both models.

    Raises `UserMistake` where the models do not match, or the text is too short.
    """
    windows = windows_of(small, large, texts, characters=WINDOW_CHARACTERS) if way == "ridge" else []
    positions = sum(len(one.at_small) for one in windows)
    if way == "ridge" and positions < LEAST_POSITIONS:
        raise UserMistake(
            f"--text: both models share {counted(positions, 'position')} in this text, and need {LEAST_POSITIONS}"
        )
    every = projected(
        vectors, small, large, names, way=way, windows=windows, seed=seed, on_progress=on_progress
    )
    moved = [one.vector for one in every]
    step = stepped(moved, alphas_V, large, eta=eta, lars=lars, rank=rank)
    left = tuple(sorted({name for one in every for name in one.matching.left}))
    return Carried(step, moved, left, every[0].explained, positions)
