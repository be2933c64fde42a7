"""Distilled contexts: a few blocks fitted to do the work of many, with a block of the base in memory at a time (LEFF).

Each student replaces a run of consecutive blocks. It starts as a copy of the run's first block and learns to produce
the run's output from the run's input, and to attend as the run's last block does:

    E = (1 - alpha) MSE(H_teacher, H_student) + alpha KL(A_teacher || A_student)

The base processes the reference windows block by block. Hidden states between blocks are files on disk; in memory are
one block of the teacher, one student in float32 with its optimiser, and the finished students. The result depends only
on the base with what is mounted on it, the block window, the configuration and the reference windows, up to rounding:
processors add in different orders.

Axes: W windows of the reference set, T tokens, B windows at a time, H width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import count, pairwise
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from gossipllm.model.blocks import Fill, parameters_of
from gossipllm.model.contexts.blockwise import Passage
from gossipllm.model.contexts.config import BlockWindow, ContextConfig
from gossipllm.randomness import permutation
from gossipllm.text.windows import Windows, decoded

Rows = NDArray[np.int64]
"""`(B,)` indices of windows."""
DTYPE: Final = torch.bfloat16
"""Type of fitted tensors: they are sent to peers, and the error of a fitted block is larger than the rounding."""
_CLIP: Final = 1.0
"""Largest gradient norm. Guess."""


def runs(block_window: BlockWindow, config: ContextConfig, blocks: int) -> list[range]:
    """The blocks that each student replaces; the student takes the place of the first of them.

    No run spans the block window, so the students are divided between its two sides in proportion to their lengths, at
    least one for each side if there are two students. A single student serves the longer side, and the blocks of the
    other side are left out.
    """
    outside = block_window.outside(blocks)
    students = config.kept(len(outside))
    before, behind = block_window.first, blocks - block_window.end
    least = 1 if students > 1 else 0
    share = int(students * before / max(1, len(outside)) + 0.5)
    lowest = max(students - behind, min(least, before))
    highest = min(before, students - min(least, behind))
    first = min(max(share, lowest), highest)
    return [*_cut(range(before), first), *_cut(range(block_window.end, blocks), students - first)]


def distil(
    model: PreTrainedModel,
    block_window: BlockWindow,
    config: ContextConfig,
    reference_WT: Windows,
    *,
    fill: Fill | None = None,
    fold: Callable[[torch.nn.Module], None] | None = None,
) -> dict[str, torch.Tensor]:
    """The students' tensors in bfloat16, with the names of the blocks whose places they take.

    Where an adapter is mounted on the model, `fold` adds it to the numbers of a copy of a block, from which a student
    begins. For a model with blocks on the meta device, `fill` gives each block its numbers before it is used;
    afterwards they are freed. Raises `ValueError` where there are no reference windows or the block window exceeds the
    model.
    """
    if not len(reference_WT):
        raise ValueError("reference_WT must hold at least one window")
    passage = Passage(model)
    todo = {run[0]: run for run in runs(block_window, config, len(passage.blocks))}
    ends = {run[-1]: run for run in todo.values()}
    students: dict[int, torch.nn.Module] = {}
    batches = _batches(len(reference_WT), config.batch_windows)
    with TemporaryDirectory(prefix="gossipllm-") as folder, torch.no_grad():
        device = cast("Any", model.get_input_embeddings()).weight.device
        hidden = _Hidden(Path(folder), len(reference_WT), device)
        for rows in batches:
            ids_BT = torch.tensor(decoded(reference_WT[rows]), dtype=torch.int64, device=device)
            hidden.write(0, rows, passage.enter(ids_BT))
        for index, block in enumerate(passage.blocks[: max(ends, default=-1) + 1]):
            if fill is not None:
                fill(f"{passage.name}.{index}", block)
            # `todo`: runs whose student is not fitted yet, by their first block. `ends`: all runs by their last block.
            if index in todo:
                students[index] = deepcopy(block).float()
                if fold is not None:
                    fold(students[index])
            past = {index}
            if (run := ends.get(index)) is not None:
                _Fit(passage, block, run, hidden, config).fit(students[run[0]])
                students[run[0]].to(DTYPE)
                del todo[run[0]]
                past.add(run[0])
            for rows in batches:
                hidden.write(index + 1, rows, passage.through(block, index, hidden.read(index, rows))[0])
            if fill is not None:
                block.to("meta")
            # The input of a run's first block stays on disk until its student is fitted.
            for each in past - todo.keys():
                hidden.forget(each)
    return {
        f"{passage.name}.{index}.{key}": value
        for index, student in students.items()
        for key, value in parameters_of(student).items()
    }


@dataclass(frozen=True, eq=False)
class _Fit:
    """The fit of one student. `teacher` is the last block of `run`."""

    passage: Passage
    teacher: torch.nn.Module
    run: range
    hidden: _Hidden
    config: ContextConfig

    def fit(self, student: torch.nn.Module) -> None:
        """Train the student in place; the student of a single block is that block already."""
        if len(self.run) == 1:
            return
        config = self.config
        parameters = list(student.requires_grad_().parameters())
        optimiser = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=0.0)
        order = _order(config, self.run[0], self.hidden.windows)
        for step in range(config.steps):
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * (1 - step / config.steps)
            with torch.enable_grad():
                error = self._error(student, next(order))
                cast("Any", error).backward()
            torch.nn.utils.clip_grad_norm_(parameters, _CLIP)
            cast("Any", optimiser).step()
            optimiser.zero_grad()
        student.requires_grad_(False)

    def _error(self, student: torch.nn.Module, rows: Rows) -> torch.Tensor:
        index, alpha = self.run[-1], self.config.alpha
        with torch.no_grad():
            want_BTH, want_BATT = self.passage.through(self.teacher, index, self.hidden.read(index, rows))
        given_BTH = self.hidden.read(self.run[0], rows).float()
        made_BTH, made_BATT = self.passage.through(student, index, given_BTH)
        least = torch.finfo(
            torch.float32
        ).tiny  # future positions have attention 0, whose logarithm is infinite
        apart_BATT = want_BATT.float().clamp_min(least).log() - made_BATT.float().clamp_min(least).log()
        divergence = (want_BATT.float() * apart_BATT).sum(dim=-1).mean()
        return (1 - alpha) * torch.nn.functional.mse_loss(made_BTH, want_BTH.float()) + alpha * divergence


@dataclass(frozen=True, eq=False)
class _Hidden:
    """The hidden states that enter each block, `(W, T, H)`, in mapped files, whose pages the system can write out and
    drop when memory is short."""

    folder: Path
    windows: int
    device: torch.device
    held: dict[int, torch.Tensor] = field(default_factory=dict)

    def write(self, index: int, rows: Rows, hidden_BTH: torch.Tensor) -> None:
        if index not in self.held:
            shape = (self.windows, *hidden_BTH.shape[1:])
            file = str(self.folder / str(index))
            mapped = torch.from_file(file, shared=True, size=prod(shape), dtype=hidden_BTH.dtype)
            self.held[index] = mapped.view(shape)
        self.held[index][rows] = hidden_BTH.cpu()

    def read(self, index: int, rows: Rows) -> torch.Tensor:
        return self.held[index][rows].to(self.device)

    def forget(self, index: int) -> None:
        del self.held[index]
        (self.folder / str(index)).unlink()


def _cut(blocks: range, parts: int) -> list[range]:
    """The blocks divided into `parts` runs; run s ends at block ceil(s / ratio), as in LEFF."""
    ends = [-(-(part + 1) * len(blocks) // parts) for part in range(parts)]
    return [blocks[start:end] for start, end in pairwise([0, *ends])]


def _batches(windows: int, size: int) -> list[Rows]:
    return [np.arange(first, min(first + size, windows)) for first in range(0, windows, size)]


def _order(config: ContextConfig, block: int, windows: int) -> Iterator[Rows]:
    """An endless sequence of batches of equal size: all windows, in a new order each epoch."""
    size = min(config.batch_windows, windows)
    for epoch in count():
        shuffled = permutation("gossipllm/distil/1", (config.seed, block, epoch), windows)
        yield from shuffled[: windows // size * size].reshape(-1, size)
