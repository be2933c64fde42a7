"""Copies of a model for trial passes: one block of each kind, and random numbers for weights that are not read yet.

A trial runs a few made-up tokens through a model to see how its modules are used. The copy shares the model's tensors,
and blocks that are built like an earlier one are skipped. Where weights are on the meta device, random numbers stand in
for them and the vocabulary is cut to a few tokens, so that a trial takes little memory.

Axes: B windows, T positions, H width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

import torch
from transformers import PreTrainedModel

from gossipllm.model.blocks import blocks_name, blocks_of, shadow
from gossipllm.model.contexts.dropped import Skipped

WINDOWS: Final = 3
POSITIONS: Final = 8
"""Unequal, so that a tensor's first axis tells which of the two it is."""
_FIRST_TOKEN: Final = 4
_TOKENS: Final = 64
"""Tokens of a cut vocabulary; those of a trial lie in it, behind the special ones that many families begin with."""
_LARGE: Final = 131_072
"""Rows of a table that is cut although it has another number of rows than the vocabulary, as embeddings for each layer
and hashed ones have. Guess: above any table of positions."""


def made_up_tokens(model: PreTrainedModel) -> torch.Tensor:
    """`(B, T)` ids, all different where the vocabulary is large enough."""
    tokens_BT = torch.arange(WINDOWS * POSITIONS).view(WINDOWS, POSITIONS) + _FIRST_TOKEN
    table = cast("Any", model.get_input_embeddings()).weight
    return (tokens_BT % len(table)).to(table.device)


def kinds_of(model: PreTrainedModel) -> dict[str, str]:
    """The name of each block -> the name of the first block that is built alike."""
    name = blocks_or_none(model)
    if not name:
        return {}
    first: dict[object, str] = {}
    return {
        f"{name}.{index}": first.setdefault(_form(block), f"{name}.{index}")
        for index, block in enumerate(blocks_of(model))
    }


def blocks_or_none(model: PreTrainedModel) -> str:
    try:
        return blocks_name(model)
    except ValueError:
        return ""


def _form(block: torch.nn.Module) -> object:
    """Equal for blocks that are built alike: their modules, the shapes of their tensors, and their switches."""
    return (
        tuple(
            (
                name,
                type(module),
                tuple(sorted((key, value) for key, value in vars(module).items() if _switches(key, value))),
            )
            for name, module in cast("Iterable[tuple[str, torch.nn.Module]]", block.named_modules())
        ),
        tuple(
            (name, tuple(value.shape))
            for name, value in cast("Mapping[str, torch.Tensor]", block.state_dict(keep_vars=True)).items()
        ),
    )


def _switches(key: str, value: object) -> bool:
    return not key.startswith("_") and key != "training" and isinstance(value, bool | str)


def representative(name: str, kinds: Mapping[str, str]) -> str:
    for block, other in kinds.items():
        if name.startswith(f"{block}."):
            return other + name.removeprefix(block)
    return name


def copy_of(model: PreTrainedModel, kinds: Mapping[str, str]) -> PreTrainedModel:
    """A copy of the model for one pass: blocks that are built like an earlier one are skipped, and random numbers stand
    in for weights that are not read yet."""
    skipped = {block for block, other in kinds.items() if block != other}
    tuples: list[bool] = []
    pairs: list[tuple[object, object]] = [
        (model.get_submodule(block), _Passing(tuples, model.get_submodule(block))) for block in skipped
    ]
    inside = tuple(f"{block}." for block in skipped)
    within, table = f"{blocks_or_none(model)}.", cast("Any", model.get_input_embeddings()).weight
    vocabulary = len(table) if table.is_meta else 0
    done: set[int] = set()
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if id(value) in done or name.startswith(inside):
            continue
        done.add(id(value))
        # Within the blocks a size that equals the vocabulary's is another one.
        shape = _cut(value.shape, 0 if name.startswith(within) else vocabulary)
        if value.is_meta:
            pairs.append((value, _as_is(value, _stand_in(shape, value.dtype))))
        elif shape != value.shape:
            pairs.append((value, _as_is(value, value[tuple(slice(length) for length in shape)])))
    copy = shadow(model, kept=(model.config,), swapped=pairs).eval()
    for module in copy.modules():
        if isinstance(module, torch.nn.Embedding) and (module.padding_idx or 0) >= len(module.weight):
            module.padding_idx = None  # it lies behind the end of a table that was cut
    if kinds:
        first = copy.get_submodule(next(iter(kinds)))
        first.register_forward_hook(lambda _block, _given, made: tuples.append(isinstance(made, tuple)))
    return copy


def _cut(shape: torch.Size, vocabulary: int) -> torch.Size:
    """The shape with fewer tokens where the vocabulary is cut; 0 where it is not."""
    if not vocabulary:
        return shape
    return torch.Size(_TOKENS if length == vocabulary or length >= _LARGE else length for length in shape)


def _stand_in(shape: torch.Size, dtype: torch.dtype) -> torch.Tensor:
    """One random row in place of all rows, which takes no memory; of stacked matrices one in place of all, because some
    products want rows of their own."""
    generator = torch.Generator().manual_seed(0)
    own = shape[-2:] if len(shape) > 2 else shape[-1:]
    numbers = torch.randn(own, generator=generator) / own[-1] ** 0.5 if len(shape) > 1 else torch.ones(shape)
    return numbers.to(dtype).expand(shape)


def _as_is(old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """A parameter for a parameter, a buffer for a buffer."""
    return torch.nn.Parameter(new, requires_grad=False) if isinstance(old, torch.nn.Parameter) else new


class _Passing(Skipped):
    """A block that is skipped in a trial, and returns what the first block turned out to return."""

    def __init__(self, tuples: Sequence[bool], instead_of: torch.nn.Module) -> None:
        super().__init__(returns_tuple=False, instead_of=instead_of)
        self._tuples = tuples

    def forward(
        self, hidden_BTH: torch.Tensor, *rest: object, **options: object
    ) -> torch.Tensor | tuple[torch.Tensor, None]:
        self.returns_tuple = self._tuples[0]
        return super().forward(hidden_BTH, *rest, **options)
