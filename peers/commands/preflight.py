"""The preflight of a peer: what `gossipllm init` prints of a new home and `doctor` of one that exists.

It reads the text, the tokenizer and the model's configuration, never the weights, and compares what training will take
with what this machine has. What cannot work raises `UserMistake`; what may fail is a warning. A run makes the same
account of the model that it has loaded (`gossipllm.learning.learner_pool`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gossipllm.device.free_memory import free_memory, whole_memory
from gossipllm.learning.preflight.account import PEFT_TAKES, ModelAccount
from gossipllm.model.heap import release_freed_memory
from gossipllm.model.loading.presence import Presence, presence_of
from gossipllm.text.reading.account import TextAccount
from peers.home.config import PeerConfig
from trust.counting import in_bytes
from trust.errors import UserMistake

_LIBRARIES: Final = 4e8
"""Bytes of the interpreter and its libraries in a learner. Measured: 395 MB with torch's and transformers' code."""
_LEAST_SHARE: Final = 1 / 1.28
"""What training took at the least, as a share of the estimate (`gossipllm.learning.passes.memory.step_memory`)."""


@dataclass(frozen=True, slots=True)
class Preflight:
    """`text` and `model` are None where the model, and so its tokenizer, is not on this device."""

    base: str
    text: TextAccount | None
    model: ModelAccount | None
    warnings: tuple[str, ...]

    def lines(self) -> tuple[str, ...]:
        """For people, without the warnings."""
        return (
            *(() if self.text is None else self.text.lines()),
            self.base,
            *(() if self.model is None else self.model.lines()),
        )


def preflight(config: PeerConfig, folder: Path, *, key: str = "model.name") -> Preflight:
    """Examine what a peer with this configuration would run on, in the home `folder`. `key` is the setting or flag that
    named the model. Raises `UserMistake`."""
    name = config.model.name
    presence = presence_of(name, key)
    base = presence.line(name)
    _check_disk(presence.size if presence.place == "hub" else 0, _cache(), f"{key}: the download of {name}")
    if presence.place == "unknown":
        return Preflight(base, None, None, ())
    # Imported here, because they load transformers: mistakes in the arguments are told at once.
    from gossipllm.learning.preflight.model import examined as examined_model
    from gossipllm.model.loading.models import load_tokenizer
    from gossipllm.text.preflight import examined as examined_text

    # The text first: what it takes is freed before the model's code is loaded.
    text = examined_text(config.data, load_tokenizer(name, key))
    release_freed_memory()
    model = examined_model(config.learner())
    _check_memory(model, presence)
    _check_disk(model.disk_bytes, folder, "the state of this peer")
    return Preflight(base, text, model, tuple(_warnings(model)))


def _check_memory(model: ModelAccount, presence: Presence) -> None:
    """Raises `UserMistake` where all memory of the device is less than training takes at the least."""
    whole = _device_memory(model.device)[1]
    least = max(model.base_bytes, _LEAST_SHARE * model.memory_bytes)
    if whole is None or least <= whole:
        return
    raise UserMistake(
        f"model.name: a training step takes about {in_bytes(model.memory_bytes)}, and {model.device} has "
        f'{in_bytes(whole)} in all (weights: {in_bytes(presence.size)}); take model.held = "int4", layers.memory_mb, '
        "layers.checkpoint = true, a smaller training.micro_windows or a smaller model"
    )


def _warnings(model: ModelAccount) -> Iterator[str]:
    free, _ = _device_memory(model.device)
    needed = model.memory_bytes + (_LIBRARIES if model.device == "cpu" else 0)
    if free is not None and needed > free:
        yield (
            f"memory: training takes about {in_bytes(needed)}, and {in_bytes(free)} are free now; close other "
            'programs, or take model.held = "int4", layers.checkpoint = true or a smaller training.micro_windows'
        )
    if model.peft and model.peft != PEFT_TAKES:
        yield f"export: {model.peft}"


def _device_memory(device: str) -> tuple[int | None, int | None]:
    """Free bytes and all bytes of the memory that a device computes in, None where that is not known."""
    if not device.startswith("cuda"):
        return free_memory(), whole_memory()
    import torch

    return torch.cuda.mem_get_info(torch.device(device))


def _check_disk(needed: float, folder: Path, what: str) -> None:
    at = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.is_dir())
    disk = shutil.disk_usage(at)
    # A place of no size, such as /proc, is no disk: writing there says what is wrong.
    if disk.total and needed > disk.free:
        raise UserMistake(f"{what} takes about {in_bytes(needed)}, and {at} has {in_bytes(disk.free)} free")


def _cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)
