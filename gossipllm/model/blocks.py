"""Finding the blocks, the final norm and the head of a causal language model of any family.

They are found by structure: the list of as many modules as the configuration counts layers, the norm beside that list,
the head if it has weights of its own. A table of names would have to list every family.
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
"""Gives a block its numbers, in place. Called with the block's name and the block, whose tensors are on the meta
device."""
_Named = Iterable[tuple[str, torch.nn.Module]]
_M = TypeVar("_M", bound=torch.nn.Module)


def blocks_of(model: PreTrainedModel) -> torch.nn.ModuleList:
    """The blocks in order. Raises `ValueError` where the model has no such list."""
    return cast("torch.nn.ModuleList", model.get_submodule(blocks_name(model)))


def blocks_name(model: PreTrainedModel) -> str:
    """The name of the list of blocks, as `transformer.h` or `model.layers`. Raises `ValueError` where there is none."""
    count = stated_depth(model)
    named = cast("_Named", model.named_modules())
    lists = [name for name, each in named if isinstance(each, torch.nn.ModuleList) and len(each) == count]
    # A vision tower may have as many blocks as the decoder that reads the text.
    decoder = cast("Any", model).get_decoder()
    inside = tuple(name for name, each in cast("_Named", model.named_modules()) if each is decoder and name)
    lists.sort(key=lambda name: not name.startswith(tuple(f"{one}." for one in inside)))
    if not count or not lists:
        raise ValueError(f"{type(model).__name__} has no list of {count or 'its'} blocks")
    return lists[0]


def stated(model: PreTrainedModel, key: str) -> Any:
    """A setting of the text model; None where it has none of this name, or one for each layer."""
    try:
        return getattr(cast("Any", model.config).get_text_config(), key, None)
    except RuntimeError:
        # transformers' answer where the layers of a family differ in it.
        return None


def stated_depth(model: PreTrainedModel) -> int:
    """The number of blocks by the configuration; 0 where it states none."""
    return int(stated(model, "num_hidden_layers") or 0)


def stated_width(model: PreTrainedModel) -> int:
    """The width of the hidden states by the configuration, or that of the embeddings."""
    width: object = stated(model, "hidden_size")
    if isinstance(width, int):
        return width
    return int(cast("Any", model.get_input_embeddings()).weight.shape[-1])


def final_norm_of(model: PreTrainedModel) -> torch.nn.Module:
    """The norm between the last block and the head. Raises `ValueError` where there is none."""
    parent = model.get_submodule(blocks_name(model).rpartition(".")[0])
    norms = [
        module
        for name, module in parent.named_children()
        # Some families (BLOOM) have a norm of the embeddings beside the blocks too.
        if "norm" in type(module).__name__.lower() and "emb" not in name
    ]
    if not norms:
        raise ValueError(f"{type(model).__name__} has no norm behind its blocks")
    return norms[-1]


def own_head_of(model: PreTrainedModel) -> torch.nn.Module | None:
    """The output head, or None where it is tied to the embeddings."""
    head = cast("Any", model).get_output_embeddings()
    if head is None or head.weight is cast("Any", model.get_input_embeddings()).weight:
        return None
    return cast("torch.nn.Module", head)


def parameters_of(block: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A block's parameters by the names that they have in a model without adapters."""
    return {plain(name): value for name, value in block.named_parameters()}


def plain(name: str) -> str:
    """A tensor's name in a model without adapters."""
    return name.replace(".frozen.", ".")


def linears_of(module: torch.nn.Module) -> dict[str, Linear]:
    """All linear layers within a module, by name; without those of classes that a family derived from them, which may
    compute something else."""
    return {
        name: cast("Linear", inner)
        for name, inner in cast("_Named", module.named_modules())
        if type(inner) in (torch.nn.Linear, Conv1D)
    }


def replace(root: torch.nn.Module, name: str, module: torch.nn.Module) -> None:
    """Put `module` in place of the submodule `name` of `root`."""
    parent, _, child = name.rpartition(".")
    setattr(root.get_submodule(parent), child, module)


def shadow(module: _M, *, kept: Iterable[object] = (), swapped: Iterable[tuple[object, object]] = ()) -> _M:
    """A copy of a module that shares its tensors: it takes no memory, and its structure can be changed separately.

    The objects in `kept` are not copied. In the copy, the second object of each pair in `swapped` takes the place of
    the first.
    """
    # `deepcopy` takes an object from `memo` instead of copying it.
    memo: dict[int, object] = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    memo |= {id(each): each for each in kept}
    memo |= {id(old): new for old, new in swapped}
    return deepcopy(module, memo)
