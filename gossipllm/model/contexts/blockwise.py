"""The blocks of a model one at a time: what it gives each of them, and what each makes of it.

A model hands its blocks a mask, rotations and the like beside the hidden states, each family in its own way. They
are recorded from a pass in which every block is a stand-in, and given again to any block that is run by itself.

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


class Passage:
    """A model's own blocks, on the same tensors, with the attention that tells its probabilities."""

    def __init__(self, model: PreTrainedModel) -> None:
        plain = cast("Any", model.config)
        eager = deepcopy(plain)
        eager._attn_implementation = "eager"  # noqa: SLF001  (the public setter needs a whole model)
        pairs = ((plain, eager), (plain.get_text_config(), eager.get_text_config()))
        self._outside = shadow(model, swapped=pairs)
        held = blocks_of(self._outside)
        self.blocks = list(held)
        self.name = blocks_name(model)
        pair = returns_tuples(model)
        self._recorders = [_Recorder(pair=pair) for _ in self.blocks]
        for index, recorder in enumerate(self._recorders):
            held[index] = recorder
        self._calls: dict[tuple[int, ...], list[_Call]] = {}

    def enter(self, tokens_BT: torch.Tensor) -> torch.Tensor:
        """`(B, T, H)`: what the first block is given."""
        cast("Any", self._outside)(input_ids=tokens_BT, use_cache=False, logits_to_keep=1)
        calls = [recorder.taken() for recorder in self._recorders]
        hidden_BTH = calls[0].hidden_BTH
        self._calls[tuple(hidden_BTH.shape[:2])] = calls
        return hidden_BTH

    def through(
        self, block: torch.nn.Module, index: int, hidden_BTH: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What `block` makes in the place of block `index`, and its attention `(B, A, T, T)`.

        As many windows of as many tokens must have entered before. Raises `ValueError` where the block tells
        no attention.
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
    """Whether its blocks return tuples, hidden states first, as those of some families do.

    The first block alone is run to see; where it is on the meta device, with zeros.
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
        cast("Any", model)(input_ids=tokens_BT, use_cache=False, logits_to_keep=1)
    return found[0]


def _device(model: PreTrainedModel) -> torch.device:
    return cast("Any", model.get_input_embeddings()).weight.device


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    hidden_BTH: torch.Tensor
    rest: tuple[Any, ...]
    options: dict[str, Any]


class _Recorder(Skipped):
    """Notes with what it is called."""

    _call: _Call | None = None

    def taken(self) -> _Call:
        call, self._call = self._call, None
        assert call is not None, "a model calls all of its blocks"
        return call

    def forward(
        self, hidden_BTH: torch.Tensor, *rest: object, **options: object
    ) -> torch.Tensor | tuple[torch.Tensor, None]:
        self._call = _Call(hidden_BTH, rest, options)
        return super().forward(hidden_BTH, *rest, **options)
