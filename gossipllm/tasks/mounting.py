"""Mounting an adapter on a base while it is measured: a peer's saved state, or a folder in PEFT's format."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from gossipllm.config import AdapterConfig
from gossipllm.model.adapter.placement import attach
from gossipllm.model.adapter.snapshots import Snapshot
from gossipllm.model.blocks import replace
from gossipllm.model.loading.models import Base
from trust.errors import UserMistake


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
    try:
        with warnings.catch_warnings():
            # peft reads an attribute that transformers is about to rename: a user can do nothing about that.
            warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
            mounted = wrapper.from_pretrained(base.model, str(folder), is_trainable=False)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserMistake(f"--adapter: {folder} does not fit this model: {reason}") from None
    try:
        yield
    finally:
        mounted.unload()
