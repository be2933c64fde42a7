"""Putting the fused functions in the place of a model's own, for the passes of a `with` block.

What a module computes is found by its structure and by trying it, not by its family's name: a norm is replaced where it
computes what `norm.py` does, and the head's product is taken out of a model that returns it as it is. Everything else
runs as before, so that every model can be trained so.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, cast

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from gossipllm.model.adapter.names import A, B
from gossipllm.model.adapter.sites import LoraSite
from gossipllm.model.attention import LONGEST, SHORT_IN_FLOAT32, uses_short_attention
from gossipllm.model.fused.attention import rotated_attention
from gossipllm.model.fused.lora import adapted
from gossipllm.model.fused.norm import rms_normed
from gossipllm.model.running import logits_of

_LLAMA: Final = ("transformers.models.llama.modeling_llama", "LlamaAttention")
"""The attention of Llama, in which other makers' models of its kind come too (TinyLlama, SmolLM)."""
_EPSILON_NAMES: Final = ("variance_epsilon", "eps")


@contextmanager
def fused_forwards(model: torch.nn.Module) -> Generator[None]:
    """Within the context manager, adapted linear layers, norms and short attention of `model` run as fused functions
    where a gradient is wanted."""
    changed: list[tuple[torch.nn.Module, str]] = []

    def put(module: torch.nn.Module, name: str, value: object) -> None:
        # An attribute of the instance hides the method, so that no wrapper changes the modules' names.
        setattr(module, name, value)
        changed.append((module, name))

    for module in model.modules():
        if type(module) is LoraSite and type(module.frozen) in (torch.nn.Linear, Conv1D):
            put(module, "forward", partial(_adapted, module))
        elif (epsilon := _epsilon(module)) is not None:
            put(module, "forward", partial(_normed, module, epsilon))
        elif _place(module) == _LLAMA and uses_short_attention(module):
            put(module, "forward", partial(_attended, module))
        elif hasattr(module, "is_causal"):
            put(module, SHORT_IN_FLOAT32, True)
    try:
        yield
    finally:
        for module, name in changed:
            delattr(module, name)


def open_head(model: PreTrainedModel) -> torch.nn.Linear | None:
    """The head of a model whose logits are the product of hidden states and the head's weight and nothing else; None
    for any other model. Runs two tokens through it."""
    head: Any = cast("Any", model).get_output_embeddings()
    if type(head) is not torch.nn.Linear or getattr(head, "bias", None) is not None:
        return None
    made: list[torch.Tensor] = []

    def noting(hidden: torch.Tensor) -> torch.Tensor:
        made.append(torch.nn.functional.linear(hidden, head.weight))
        return made[-1]

    with torch.no_grad(), _forward(head, noting):
        logits = logits_of(model, torch.zeros(1, 2, dtype=torch.int64, device=head.weight.device))
    return head if len(made) == 1 and logits is made[0] else None


def hidden_states_of(model: PreTrainedModel, head: torch.nn.Linear, tokens_BT: torch.Tensor) -> torch.Tensor:
    """What the head of such a model would be given, `(B, T, H)`."""
    with _forward(head, lambda hidden: hidden):
        return logits_of(model, tokens_BT)


@contextmanager
def _forward(module: torch.nn.Module, forward: Callable[[torch.Tensor], torch.Tensor]) -> Generator[None]:
    module.forward = forward
    try:
        yield
    finally:
        del module.forward


def _adapted(site: LoraSite, x: torch.Tensor) -> torch.Tensor:
    a_PRI, b_POR = site.mounted.get(A), site.mounted.get(B)
    if a_PRI is None or b_POR is None or site.dropouts or not _wants_gradient((x, a_PRI, b_POR)):
        return LoraSite.forward(site, x)
    frozen: Any = site.frozen
    weight_OI = frozen.weight.T if isinstance(frozen, Conv1D) else frozen.weight
    if a_PRI.dtype != x.dtype:  # some families keep a few layers in float32
        a_PRI, b_POR = a_PRI.to(x.dtype), b_POR.to(x.dtype)
    x_PNI = x.reshape(len(a_PRI), -1, x.shape[-1])
    return adapted(x_PNI, weight_OI, frozen.bias, a_PRI, b_POR, site.scale).view(*x.shape[:-1], -1)


def _normed(norm: torch.nn.Module, epsilon: float, x: torch.Tensor) -> torch.Tensor:
    # A norm may hold a weight that it does not use (Falcon Mamba), for inputs of any width.
    if not _wants_gradient((x,)) or x.shape[-1] != len(cast("torch.Tensor", norm.weight)):
        return cast("Any", type(norm)).forward(norm, x)
    return rms_normed(x, cast("torch.Tensor", norm.weight), epsilon)


def _attended(
    attention: Any,
    hidden_states: torch.Tensor,
    position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
    attention_mask: torch.Tensor | None = None,
    past_key_values: object = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    plain = (
        attention_mask is not None
        or past_key_values is not None
        or position_embeddings is None
        or hidden_states.shape[1] > LONGEST
        or not torch.is_grad_enabled()
        or attention.training
    )
    if not plain and position_embeddings is not None:
        shape = (*hidden_states.shape[:2], -1, attention.head_dim)
        q, k, v = (
            cast("torch.Tensor", project(hidden_states)).view(shape)
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        cos_BTD, sin_BTD = position_embeddings
        # One row of positions serves all windows, which all begin at the first.
        if _wants_gradient((q, k, v)) and len(cos_BTD) == 1:
            out_BTHD = rotated_attention(q, k, v, cos_BTD[0], sin_BTD[0], attention.scaling)
            return attention.o_proj(out_BTHD.flatten(2)), None
    kind = cast("Any", type(attention))
    return kind.forward(
        attention, hidden_states, position_embeddings, attention_mask, past_key_values, **options
    )


def _place(module: torch.nn.Module) -> tuple[str, str]:
    return type(module).__module__, type(module).__name__


def _wants_gradient(tensors: Iterable[torch.Tensor]) -> bool:
    return torch.is_grad_enabled() and any(one.requires_grad for one in tensors)


def _epsilon(module: torch.nn.Module) -> float | None:
    """The epsilon of a norm that computes what `rms_normed` does; None for any other module."""
    if not type(module).__name__.endswith("RMSNorm"):
        return None
    weight: object = getattr(module, "weight", None)
    stated = [value for name in _EPSILON_NAMES if isinstance(value := getattr(module, name, None), float)]
    if not isinstance(weight, torch.Tensor) or weight.ndim != 1 or weight.is_meta or len(stated) != 1:
        return None
    # Small, so that an epsilon in another place would show.
    probe = torch.linspace(-1e-3, 2e-3, weight.shape[0], dtype=weight.dtype, device=weight.device)[None, None]
    with torch.no_grad():
        theirs, ours = cast("Any", module)(probe), rms_normed(probe, weight, stated[0])
    return (
        stated[0] if theirs.dtype == ours.dtype and torch.allclose(theirs, ours, rtol=2**-6, atol=0) else None
    )
