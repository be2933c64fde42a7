"""Running the blocks of a model one at a time.

Besides hidden states a model passes its blocks a mask, rotations and more, in each family differently. These arguments
are recorded in a pass in which every block is replaced by a recorder, and reused to run any block by itself.

Axes: B windows, T positions, H width; A attention heads.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

import torch
from transformers import PreTrainedModel

from gossipllm.model.blocks import blocks_name, blocks_of, shadow
from gossipllm.model.contexts.dropped import Skipped
from gossipllm.model.running import logits_of


class Passage:
    """A model's blocks, sharing the model's tensors, with an attention that returns its probabilities ("eager")."""

    def __init__(self, model: PreTrainedModel) -> None:
        plain = cast("Any", model.config)
        eager = deepcopy(plain)
        eager._attn_implementation = "eager"  # noqa: SLF001  (the public setter needs a whole model)
        pairs = ((plain, eager), (plain.get_text_config(), eager.get_text_config()))
        self._outside = shadow(model, swapped=pairs)
        held = blocks_of(self._outside)
        self.blocks = list(held)
        self.name = blocks_name(model)
        returns_tuple = returns_tuples(model)
        self._recorders = [_Recorder(returns_tuple=returns_tuple, instead_of=block) for block in self.blocks]
        for index, recorder in enumerate(self._recorders):
            held[index] = recorder
        self._calls: dict[tuple[int, ...], list[_Call]] = {}

    def enter(self, tokens_BT: torch.Tensor) -> torch.Tensor:
        """`(B, T, H)`: the hidden states that enter the first block. Records the arguments of all blocks for windows of
        this number and length."""
        logits_of(self._outside, tokens_BT, last=True)
        calls = [recorder.taken() for recorder in self._recorders]
        hidden_BTH = calls[0].hidden_BTH
        self._calls[tuple(hidden_BTH.shape[:2])] = calls
        return hidden_BTH

    def through(
        self, block: torch.nn.Module, index: int, hidden_BTH: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The output of `block` in the place of block `index`, and its attention `(B, A, T, T)`.

        Windows of the same number and length must have passed `enter` before. Raises `ValueError` where the block
        returns no attention.
        """
        call = self._calls[tuple(hidden_BTH.shape[:2])][index]
        maps: list[torch.Tensor] = []

        def keep(_module: torch.nn.Module, _given: object, made: object) -> None:
            second = cast("tuple[object, ...]", made)[1:2] if isinstance(made, tuple) else ()
            maps.extend(each for each in second if isinstance(each, torch.Tensor) and each.dim() == 4)

        hooks = [inner.register_forward_hook(keep) for inner in block.modules() if inner is not block]
        try:
            made: Any = block(hidden_BTH, *call.rest, **call.options)
        finally:
            for hook in hooks:
                hook.remove()
        if not maps:
            raise ValueError(f"{type(block).__name__} does not tell its attention")
        return cast("Any", made)[0] if isinstance(made, tuple) else made, maps[-1]


def returns_tuples(model: PreTrainedModel) -> bool:
    """Whether the model's blocks return tuples that begin with the hidden states, as those of some families do.

    Found by running a model of the first block alone, with zeros where that block is on the meta device.
    """
    block = blocks_of(model)[0]
    zeros = [(each, torch.zeros_like(each, device="cpu")) for each in block.parameters() if each.is_meta]
    block = shadow(
        block, kept=(model.config,), swapped=((old, torch.nn.Parameter(new)) for old, new in zeros)
    )
    model = shadow(model, kept=(model.config,), swapped=((blocks_of(model), torch.nn.ModuleList([block])),))
    found: list[bool] = []
    block.register_forward_hook(lambda _block, _given, made: found.append(isinstance(made, tuple)))
    tokens_BT = torch.zeros(1, 2, dtype=torch.int64, device=_device(model))
    with torch.no_grad():
        logits_of(model, tokens_BT, last=True)
    return found[0]


def _device(model: PreTrainedModel) -> torch.device:
    return cast("Any", model.get_input_embeddings()).weight.device


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    hidden_BTH: torch.Tensor
    rest: tuple[Any, ...]
    options: dict[str, Any]


class _Recorder(Skipped):
    """Records the arguments of a call."""

    _call: _Call | None = None

    def taken(self) -> _Call:
        call, self._call = self._call, None
        assert call is not None, "a model calls all its blocks"
        return call

    def forward(
        self, hidden_BTH: torch.Tensor, *rest: object, **options: object
    ) -> torch.Tensor | tuple[torch.Tensor, None]:
        self._call = _Call(hidden_BTH, rest, options)
        return super().forward(hidden_BTH, *rest, **options)
