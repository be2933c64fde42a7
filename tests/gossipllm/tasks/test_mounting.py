"""Tests of mounting: an adapter on a base computes the closed form, and leaves the base unchanged afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from gossipllm.model.adapter.export import export_adapter
from gossipllm.model.adapter.snapshots import Snapshot, encode_snapshot
from gossipllm.model.loading.models import Base, base_fingerprint
from gossipllm.tasks.generation import answers
from gossipllm.tasks.mounting import folder_on, snapshot_on
from support.progress import silent
from support.tensors import named_modules
from trust.errors import UserMistake

TOKENS = torch.tensor([[5, 6, 7, 8, 9], [50, 40, 30, 20, 10]])

Bases = Callable[..., Base]
Saves = Callable[..., Snapshot]


def logits(base: Base) -> torch.Tensor:
    with torch.inference_mode():
        return cast("Any", base.model)(input_ids=TOKENS).logits.clone()


@pytest.mark.parametrize("train", ["both", "b", "heads"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_saved_state_computes_what_peft_makes_of_its_export(
    base: Bases, saved: Saves, tmp_path: Path, family: str, train: str
) -> None:
    model = base(family)
    snapshot = saved(model, train)
    export_adapter(encode_snapshot(snapshot), tmp_path / "out")
    before = logits(model)

    with snapshot_on(model, snapshot):
        own = logits(model)
    with folder_on(model, tmp_path / "out"):
        theirs = logits(model)

    torch.testing.assert_close(own, theirs, atol=1e-4, rtol=1e-4)  # float32, products in another order
    assert (own - before).abs().max() > 0.1
    assert torch.equal(logits(model), before)


@pytest.mark.parametrize(
    ("family", "train"), [("llama", "full"), ("gpt2", "full"), ("gpt2", "bias"), ("qwen2", "bias")]
)
def test_saved_differences_compute_what_the_changed_weights_do(
    base: Bases, saved: Saves, family: str, train: str
) -> None:
    model, changed = base(family), base(family)
    snapshot = saved(model, train)
    with torch.no_grad():
        for name, value in snapshot.adapter.items():
            changed.model.get_parameter(name).add_(torch.tensor(value))
    before, fingerprint = logits(model), base_fingerprint(model.model)

    with snapshot_on(model, snapshot):
        torch.testing.assert_close(logits(model), logits(changed), atol=1e-3, rtol=1e-3)

    assert torch.equal(logits(model), before)
    assert base_fingerprint(model.model) == fingerprint
    assert (logits(changed) - before).abs().max() > 0.1


def test_mounting_that_is_interrupted_leaves_the_base_as_it_was(
    base: Bases, saved: Saves, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = base()
    names = [name for name, _ in named_modules(model.model)]

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gossipllm.model.adapter.sites.Site.mount", stop)
    with pytest.raises(KeyboardInterrupt), snapshot_on(model, saved(model)):
        raise AssertionError("nothing is mounted")

    assert [name for name, _ in named_modules(model.model)] == names


def test_answers_are_written_with_what_is_beside_the_base(base: Bases, saved: Saves) -> None:
    model = base()

    def written(*contexts: str) -> list[str]:
        return answers(model, list(contexts), new_tokens=8, batch=2, one_line=False, done=silent)

    plain = written("The heron", "The otter of")

    with snapshot_on(model, saved(model)):
        together = written("The heron", "The otter of")
        alone = [written(one)[0] for one in ("The heron", "The otter of")]

    assert together == alone != plain


def test_an_adapter_of_other_shapes_is_a_user_error(base: Bases, saved: Saves, tmp_path: Path) -> None:
    export_adapter(encode_snapshot(saved(base("gpt2"))), tmp_path / "out")

    with (
        pytest.raises(UserMistake, match=r"--adapter: .* does not fit this model"),
        folder_on(base("llama"), tmp_path / "out"),
    ):
        pass


@pytest.mark.parametrize("form", [{"modules_to_save": ["lm_head"]}, {"bias": "all"}, {"use_dora": True}])
def test_after_any_folder_the_base_computes_as_before_so_order_changes_no_number(
    base: Bases, saved: Saves, tmp_path: Path, form: dict[str, Any]
) -> None:
    model = base("qwen2")
    plain, whole = tmp_path / "plain", tmp_path / "whole"
    export_adapter(encode_snapshot(saved(model, "both")), plain)
    _peft_folder(base("qwen2"), whole, **form)
    before = logits(model)
    with folder_on(model, plain):
        first = logits(model)

    with folder_on(model, whole):
        changed = logits(model)

    assert (changed - before).abs().max() > 0.01
    assert torch.equal(logits(model), before)
    with folder_on(model, plain):
        assert torch.equal(logits(model), first)


def test_numbers_of_an_adapter_that_are_not_finite_are_named(
    base: Bases, saved: Saves, tmp_path: Path
) -> None:
    model = base("llama")
    snapshot = saved(model, "both")
    name = next(iter(snapshot.adapter))
    snapshot.adapter[name][0, 0] = float("nan")
    export_adapter(encode_snapshot(snapshot), tmp_path / "out")

    with (
        pytest.raises(UserMistake, match=r"is damaged: .* holds numbers that are not finite"),
        folder_on(model, tmp_path / "out"),
    ):
        raise AssertionError("it was mounted")


def _peft_folder(base: Base, folder: Path, **form: Any) -> None:
    """A PEFT adapter whose numbers, and those that it brings whole, are all moved."""
    from peft import LoraConfig, get_peft_model

    make: Any = get_peft_model
    wrapped = make(base.model, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", **form))
    torch.manual_seed(5)  # pyright: ignore[reportUnknownMemberType] - typed in part
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.5)
    wrapped.save_pretrained(folder)
