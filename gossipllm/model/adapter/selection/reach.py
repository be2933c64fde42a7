"""Which modules of a model a text passes through, found by a trial pass of a few made-up tokens.

Whether an adapter around a module would do anything cannot be seen from its class. The layers of a vision tower and of
cross-attention are never called with text alone; those of an expert get some of the tokens in an order of their own; of
those that only choose positions no gradient comes back; and some families multiply with the weight of a layer
themselves, so that an adapter around it would be bypassed. So the model is run once, on a copy with one block of each
kind (`trial.py`).

The same pass shows whether the model predicts from what stands before alone. One that reads in both directions would
learn to copy the next token, and is refused.

Axes: B windows, T positions, V tokens of the vocabulary.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, cast

import torch
from transformers import PreTrainedModel

from gossipllm.exhaustion import is_exhaustion
from gossipllm.model.adapter.selection.trial import (
    blocks_or_none,
    copy_of,
    kinds_of,
    made_up_tokens,
    representative,
)
from gossipllm.model.adapter.selection.watched import Watched
from gossipllm.model.blocks import replace
from gossipllm.model.running import logits_of
from trust.errors import UserMistake

UNUSED: Final = "not used by a text"
FEW_ROWS: Final = "not given all tokens in order"
BYPASSED: Final = "their weights are used past the layer itself"
NOT_PLAIN: Final = "more than a product with their weights"
KEEPS_STATE: Final = "they keep a state from pass to pass"
NO_GRADIENT: Final = "without a gradient"
_WRITTEN: Final = "refers to a single memory location"
"""From torch's message where a tensor is changed that stands for many, as those of a trial without weights do."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What the trial found. `left` names the modules that adapters would not reach, and why; `alone` those that map one
    tensor to one, and of linear layers those whose output is the product with their weights; `still` the vectors of
    other modules from which no gradient comes, such as a router's that only choose."""

    left: Mapping[str, str]
    alone: frozenset[str]
    still: frozenset[str] = frozenset()
    tried: bool = True
    """False where the model could only be run with weights that are not read yet; then nothing is left out."""


def reach_of(model: PreTrainedModel, names: Collection[str]) -> Reach:
    """Try the modules of these names. There must be no adapters around them yet.

    Raises `UserMistake` where the model gives no logits for token ids alone, or reads in both directions.
    """
    hollow = any(value.is_meta for value in model.parameters())
    why = ""
    # All blocks only where the blocks of a family need each other, and the numbers of all are in memory.
    for part in (True,) if hollow else (True, False):
        try:
            return _tried(model, names, part=part)
        except UserMistake:
            raise
        except Exception as error:
            if is_exhaustion(error):
                raise
            why = " ".join(str(error).split())[:160] or type(error).__name__
    if _WRITTEN in why:
        raise _changes_weights(model)
    if hollow:
        return Reach({}, frozenset(names), tried=False)
    raise UserMistake(
        f"model.name: {type(model).__name__} gives no predictions for text alone ({why}); "
        "take a causal language model"
    )


def _tried(model: PreTrainedModel, names: Collection[str], *, part: bool) -> Reach:
    kinds = kinds_of(model) if part else {}
    copy = copy_of(model, kinds)
    stand_for = {name: representative(name, kinds) for name in names}
    watched: dict[str, Watched] = {}
    for name in dict.fromkeys(stand_for.values()):
        watched[name] = Watched(copy.get_submodule(name))
        replace(copy, name, watched[name])
    table = copy.get_input_embeddings()
    tokens_BT = made_up_tokens(copy)
    inputs: list[torch.Tensor] = []

    def embedded(_module: torch.nn.Module, _given: object, made: torch.Tensor) -> torch.Tensor:
        inputs.append(made.detach().requires_grad_())
        return inputs[-1].clone()  # which a model may change in place

    table.register_forward_hook(embedded)
    versions = {name: value._version for name, value in model.named_parameters()}  # noqa: SLF001  (no other way to see)
    with torch.enable_grad():
        logits_BTV = logits_of(copy, tokens_BT)
        if any(value._version != versions[name] for name, value in model.named_parameters()):  # noqa: SLF001
            raise _changes_weights(model)
        if logits_BTV.shape[:2] != tokens_BT.shape:
            raise UserMistake(
                f"model.name: {type(model).__name__} gives {tuple(logits_BTV.shape)} numbers for "
                f"{tuple(tokens_BT.shape)} tokens; take a causal language model"
            )
        _check_direction(model, logits_BTV, inputs)
        leaves = {name: each.leaves for name, each in watched.items()}
        every = [leaf for some in leaves.values() for leaf in some]
        every += [value for each in watched.values() for value in each.beside.values()]
        loss = logits_BTV.float().square().sum()
        slopes = _slopes(loss, every) if every else ()
    moved = {id(leaf) for leaf, slope in zip(every, slopes, strict=True) if slope is not None}
    reasons = {
        name: _reason(copy, name, each, gradient=any(id(leaf) in moved for leaf in leaves[name]))
        for name, each in watched.items()
    }
    reasons |= dict.fromkeys(_beside_few(model, reasons), FEW_ROWS)
    return Reach(
        {name: reasons[other] for name, other in stand_for.items() if reasons[other]},
        frozenset(name for name, other in stand_for.items() if watched[other].alone),
        frozenset(
            f"{name}.{end}"
            for name, other in stand_for.items()
            for end, value in watched[other].beside.items()
            if not reasons[other] and id(value) not in moved
        ),
    )


def _changes_weights(model: PreTrainedModel) -> UserMistake:
    return UserMistake(
        f"model.name: {type(model).__name__} changes its own weights while it runs, so no two peers would have one "
        "base; take another model"
    )


def _check_direction(
    model: PreTrainedModel, logits_BTV: torch.Tensor, inputs: Sequence[torch.Tensor]
) -> None:
    """Raises `UserMistake` where the first position's logits have a gradient from later tokens. In a causal model it is
    zero to the last bit, whatever the weights and their type."""
    shape = logits_BTV.shape[:2]
    # Some families compute with positions before windows.
    of_tokens = [one for one in inputs if one.shape[:2] in (shape, shape[::-1])]
    if not of_tokens:
        raise ValueError("its embeddings are not those of the tokens")
    for slope in _slopes(logits_BTV[:, 0].float().square().sum(), of_tokens):
        if slope is None:
            continue
        later = slope[:, 1:] if slope.shape[:2] == shape else slope[1:]
        if bool((later.nan_to_num() != 0).any()):
            raise UserMistake(
                f"model.name: {type(model).__name__} reads a text in both directions, so it cannot learn to predict "
                "the next token; take a causal language model (for relatives of BERT: is_decoder = true in config.json)"
            )


def _slopes(loss: torch.Tensor, leaves: Sequence[torch.Tensor]) -> tuple[torch.Tensor | None, ...]:
    """The gradient of each leaf, None where it has none."""
    return cast("Any", torch.autograd).grad(loss, leaves, allow_unused=True, retain_graph=True)


def _reason(model: torch.nn.Module, name: str, watched: Watched, *, gradient: bool) -> str:
    """Why adapters would not reach a module; empty where they would."""
    parent, _, child = name.rpartition(".")
    if child in _read_by(type(model.get_submodule(parent))):
        return BYPASSED
    if not watched.called:
        return BYPASSED if watched.read else UNUSED
    if watched.keeps:
        return KEEPS_STATE
    if not watched.whole:
        return FEW_ROWS
    return "" if gradient else NO_GRADIENT


def _beside_few(model: PreTrainedModel, reasons: Mapping[str, str]) -> set[str]:
    """The modules of all experts of which one gets a few tokens: chance may have given another one all tokens of the
    trial, or none."""
    named = cast("Iterable[tuple[str, torch.nn.Module]]", cast("Any", model).named_modules())
    lists = {name for name, module in named if isinstance(module, torch.nn.ModuleList)}
    lists -= {blocks_or_none(model)}
    innermost = {name: next((one for one in _holders(name) if one in lists), "") for name in reasons}
    experts = {innermost[name] for name, why in reasons.items() if why == FEW_ROWS} - {""}
    return {name for name, inner in innermost.items() if inner in experts}


def _holders(name: str) -> Iterator[str]:
    """The names of the modules around this one, the nearest first."""
    while name := name.rpartition(".")[0]:
        yield name


@cache
def _read_by(kind: type[torch.nn.Module]) -> frozenset[str]:
    """The names of the layers whose weights the code of this class hands to another function. It may do so on some
    devices only, where kernels are installed, so that a trial does not show it. Slices of a weight are left out: they
    emulate tensor parallelism (BLOOM, where the configuration asks for it), which a trial does show."""
    try:
        source = inspect.getsource(kind)
    except (OSError, TypeError):
        return frozenset()
    return frozenset(re.findall(r"self\.(\w+)\.weight\b(?!\.(?:dtype|device|shape|size|data)\b|\[)", source))
