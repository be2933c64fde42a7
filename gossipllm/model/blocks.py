"""Where the repeated blocks of a causal language model stand, whatever its family calls them.

Found by structure and not by name: the list of as many modules as the configuration counts layers, the norm that
stands beside it, the head if it has weights of its own. So GPT-2, Llama and their relatives need no table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any, TypeVar, cast

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

Linear = torch.nn.Linear | Conv1D
Fill = Callable[[str, torch.nn.Module], None]
"""Gives the block of this name, whose tensors are on the meta device, its numbers, in place."""
_Named = Iterable[tuple[str, torch.nn.Module]]
_M = TypeVar("_M", bound=torch.nn.Module)


def blocks_of(model: PreTrainedModel) -> torch.nn.ModuleList:
    """The blocks in order. Raises `ValueError` where the model has no such list."""
    return cast("torch.nn.ModuleList", model.get_submodule(blocks_name(model)))


def blocks_name(model: PreTrainedModel) -> str:
    """What stands before a block's index in the names of its modules, as `transformer.h` or `model.layers`."""
    count = int(cast("Any", model.config).get_text_config().num_hidden_layers)
    for name, module in cast("_Named", model.named_modules()):
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return name
    raise ValueError(f"{type(model).__name__} has no list of {count} blocks")


def final_norm_of(model: PreTrainedModel) -> torch.nn.Module:
    """The norm between the last block and the head. Raises `ValueError` where there is none."""
    parent = model.get_submodule(blocks_name(model).rpartition(".")[0])
    norms = [
        module
        for name, module in parent.named_children()
        # Some families normalise the embeddings too, in a module beside the blocks.
        if "norm" in type(module).__name__.lower() and "emb" not in name
    ]
    if not norms:
        raise ValueError(f"{type(model).__name__} has no norm behind its blocks")
    return norms[-1]


def own_head_of(model: PreTrainedModel) -> torch.nn.Module | None:
    """The head, or None where it is the embeddings once more."""
    head = cast("Any", model).get_output_embeddings()
    if head is None or head.weight is cast("Any", model.get_input_embeddings()).weight:
        return None
    return cast("torch.nn.Module", head)


def parameters_of(block: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A block's parameters under the names that they have where no adapter stands around its layers."""
    return {plain(name): value for name, value in block.named_parameters()}


def plain(name: str) -> str:
    """What a tensor is called where no adapter stands around its module."""
    return name.replace(".frozen.", ".")


def linears_of(module: torch.nn.Module) -> dict[str, Linear]:
    """Every linear layer within, by name."""
    return {
        name: inner for name, inner in cast("_Named", module.named_modules()) if isinstance(inner, Linear)
    }


def replace(root: torch.nn.Module, name: str, module: torch.nn.Module) -> None:
    """Let `module` stand where `root` had its submodule `name`."""
    parent, _, child = name.rpartition(".")
    setattr(root.get_submodule(parent), child, module)


def shadow(module: _M, *, kept: Iterable[object] = (), swapped: Iterable[tuple[object, object]] = ()) -> _M:
    """The same structure once more on the same tensors, so that it costs no memory and can be changed by itself.

    What is `kept` is shared whole; of what is `swapped`, the second stands for the first.
    """
    memo: dict[int, object] = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    memo |= {id(each): each for each in kept}
    memo |= {id(old): new for old, new in swapped}
    return deepcopy(module, memo)
