"""Tests of the attention kernel for short windows, against the attention of torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from gossipllm.config import ModelConfig
from gossipllm.model import attention
from gossipllm.model.loading.models import load_base


def gradients(
    folder: Path, length: int, monkeypatch: pytest.MonkeyPatch, *, own: bool
) -> tuple[Any, Any, int]:
    """The loss of a bfloat16 model, the gradient of its embeddings, and the number of calls of the short kernel."""
    calls: list[int] = []
    kernel = attention._Attention.forward

    def counted(*arguments: Any) -> Any:
        calls.append(1)
        return kernel(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(attention._Attention, "forward", staticmethod(counted))
        patch.setattr(attention, "LONGEST", 64 if own else 0)
        base: Any = load_base(ModelConfig(name=str(folder), device="cpu", dtype="bfloat16", threads=1)).model
        tokens = torch.arange(4 * length).view(4, length) % 300
        embedded = base.get_input_embeddings()(tokens).detach().requires_grad_()
        logits = base(inputs_embeds=embedded, use_cache=False).logits.float()
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
        (slope,) = cast("tuple[torch.Tensor]", torch.autograd.grad(loss, embedded))
    return loss.item(), slope.float(), len(calls)


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_short_attention_computes_what_torch_computes(
    model_folder: Callable[[str], Path], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model_folder(family)

    loss, slope, ran = gradients(folder, 24, monkeypatch, own=True)
    want_loss, want_slope, not_ran = gradients(folder, 24, monkeypatch, own=False)

    assert (ran, not_ran) == (2, 0), "once a layer, grouped queries and all"
    assert loss == pytest.approx(want_loss, abs=2e-2)
    # bfloat16 has 8 bits; the two round in other places.
    assert (slope - want_slope).norm() < 0.03 * want_slope.norm()


def test_without_a_gradient_the_attention_of_torch_runs(model_folder: Callable[[str], Path]) -> None:
    base: Any = load_base(ModelConfig(name=str(model_folder("llama")), device="cpu", dtype="bfloat16")).model
    tokens = torch.arange(24)[None]

    with torch.inference_mode():
        short = base(input_ids=tokens).logits
        base.set_attn_implementation("sdpa")
        torchs = base(input_ids=tokens).logits

    assert torch.equal(short, torchs)
