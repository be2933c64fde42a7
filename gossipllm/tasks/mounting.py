"""Mounting an adapter on a base while it is measured: a peer's saved state, or a folder in PEFT's format."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any, Final, cast

import torch
from safetensors import SafetensorError, safe_open

from gossipllm.config import AdapterConfig
from gossipllm.exhaustion import is_exhaustion
from gossipllm.model.adapter.placement import attach
from gossipllm.model.adapter.snapshots import Snapshot
from gossipllm.model.blocks import replace
from gossipllm.model.loading.models import Base
from trust.errors import UserMistake

_PEFT_PREFIX: Final = "base_model.model."


@contextmanager
def snapshot_on(base: Base, snapshot: Snapshot) -> Generator[None]:
    """Within the context manager, the base computes with the adapter of a peer's snapshot, of any kind."""
    header = snapshot.header
    sites = attach(base.model, AdapterConfig(train=header.train)).sites
    try:
        tensors = {
            name: torch.tensor(value, dtype=base.dtype, device=base.device)[None]
            for name, value in snapshot.adapter.items()
        }
        scale = header.alpha / header.rank if header.rank else 1.0
        for site in sites.values():
            site.mount(tensors, scale=scale)
        yield
    finally:
        for name, site in sites.items():
            replace(base.model, name, site.frozen)


@contextmanager
def folder_on(base: Base, folder: Path) -> Generator[None]:
    """Within the context manager, the base computes with the PEFT adapter in `folder`. Raises `UserMistake` where that
    adapter does not fit the base."""
    # peft takes half a second to import, and only this needs it.
    from peft import PeftModel

    wrapper: Any = PeftModel
    with unchanged(base.model, _whole_tensors(folder)):
        mounted = _mounted(wrapper, base, folder)
        if mounted.peft_config[mounted.active_adapter].is_prompt_learning:
            raise UserMistake(
                f"--adapter: {folder} holds learned prompts, which are not measured; LoRA's family is"
            )
        spoiled = next(
            (name for name, one in mounted.named_parameters() if not bool(one.isfinite().all())), None
        )
        if spoiled is not None:
            raise UserMistake(f"--adapter: {folder} is damaged: {spoiled} holds numbers that are not finite")
        yield


def _mounted(wrapper: Any, base: Base, folder: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # peft reads an attribute that transformers is about to rename: a user can do nothing about that.
            warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
            return wrapper.from_pretrained(base.model, str(folder), is_trainable=False)
    except Exception as error:
        if is_exhaustion(error):
            raise
        reason = " ".join(str(error).split())[:160]
        raise UserMistake(f"--adapter: {folder} does not fit this model: {reason}") from None


def _whole_tensors(folder: Path) -> frozenset[str]:
    """Names in the base of the tensors that an adapter brings whole (heads, biases): they may be written in place."""
    opened = cast("Any", safe_open)
    try:
        with opened(folder / "adapter_model.safetensors", framework="pt") as held:
            names = [str(name) for name in held.keys()]  # noqa: SIM118  (it is no mapping)
    except (SafetensorError, OSError) as error:
        raise UserMistake(f"--adapter: {folder} cannot be read: {str(error)[:160]}") from None
    return frozenset(
        name.removeprefix(_PEFT_PREFIX).replace(".base_layer.", ".") for name in names if ".lora_" not in name
    )


@contextmanager
def unchanged(model: torch.nn.Module, tensors: Collection[str]) -> Generator[None]:
    """Give the model back as it was, whatever is done within: its structure, and the numbers of these tensors.

    PEFT's own `unload` leaves what an adapter brought whole (`modules_to_save`, biases) in the base, and the next
    adapter would be measured on another base than the one before.
    """
    versions = {name: _writes(value) for name, value in model.state_dict(keep_vars=True).items()}
    numbers = {name: value.detach().clone() for name, value in model.state_dict().items() if name in tensors}
    attributes = [(module, _copied(vars(module))) for module in model.modules()]
    try:
        yield
    finally:
        for module, before in attributes:
            vars(module).clear()
            vars(module).update(before)
        with torch.no_grad():
            for name, value in model.state_dict(keep_vars=True).items():
                if name in numbers:
                    value.copy_(numbers[name])
                elif _writes(value) != versions[name]:
                    raise RuntimeError(f"{name} of the base was changed in place, and its numbers are lost")


def _writes(tensor: torch.Tensor) -> int:
    """How often a tensor was written in place, by torch's own count."""
    return tensor._version  # noqa: SLF001


def _copied(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a module. Torch keeps submodules, parameters and hooks in dictionaries, which are changed in
    place."""
    return {
        name: copy(cast("dict[Any, Any]", value)) if isinstance(value, dict) else value
        for name, value in attributes.items()
    }
