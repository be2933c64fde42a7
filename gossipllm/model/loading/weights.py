"""A model's weights in its own files, read a few at a time, so that the model is never whole in memory.

The model is made hollow: its parameters have shapes and no numbers (torch's meta device), its buffers are computed.
Numbers then come from the safetensors files under the names that the model gives its tensors, with or without the
prefix of the model within. Formats that transformers converts while it loads (experts stored one by one, quantised
weights) have other names and are refused in one line, not guessed at. What is read is what transformers loads, bit for
bit, which a test establishes; a file that is mapped stays mapped only while it is read, so that its pages count for
nothing afterwards.

A file that has changed since is refused: half of the model would be another.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import torch
from safetensors import SafetensorError, safe_open
from torch.overrides import TorchFunctionMode
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.utils import hub

from gossipllm.model.blocks import plain
from trust.errors import UserMistake

_SINGLE: Final = "model.safetensors"
_INDEX: Final = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class _Place:
    """A tensor in a file that was last changed at `changed`, in nanoseconds."""

    file: Path
    key: str
    changed: int


class Weights:
    """Of one model, in a type and on a device."""

    def __init__(self, places: Mapping[str, _Place], *, dtype: torch.dtype, device: torch.device) -> None:
        self._places = places
        self._dtype = dtype
        self._device = device

    def read(self, name: str) -> torch.Tensor:
        """The tensor that the model without adapters calls so. Raises `UserMistake` where the file has changed."""
        place = self._places[name]
        with _opened(place.file, place.changed) as held:
            value = cast("torch.Tensor", held.get_tensor(place.key))
            # A copy also where type and device are right: the tensor is a view of the mapped file.
            dtype = self._dtype if value.is_floating_point() else value.dtype
            return value.to(self._device, dtype, copy=True)

    def fill(self, module: torch.nn.Module, *, prefix: str = "", but: str = " ") -> None:
        """Give a module its numbers, in place; its tensors' names follow `prefix`. What is one tensor stays one, what
        begins with `but` stays hollow."""
        filled: dict[int, torch.Tensor] = {}
        for name, hollow in _tensors(module):
            if name.startswith(but):
                continue
            if id(hollow) not in filled:
                value = self.read(plain(prefix + name))
                frozen = isinstance(hollow, torch.nn.Parameter)
                filled[id(hollow)] = torch.nn.Parameter(value, requires_grad=False) if frozen else value
            parent, _, leaf = name.rpartition(".")
            setattr(module.get_submodule(parent), leaf, filled[id(hollow)])


def hollow_model(source: str, dtype: torch.dtype) -> PreTrainedModel:
    """The model of a folder or a hub's name without its weights, frozen. Raises `OSError` or `ValueError` where there
    is none."""
    configs, models = cast("Any", AutoConfig), cast("Any", AutoModelForCausalLM)
    config = configs.from_pretrained(source, trust_remote_code=False)
    with _Hollow():
        model: PreTrainedModel = models.from_config(config, dtype=dtype, trust_remote_code=False)
    return model.eval().requires_grad_(False)


def weights_of(model: PreTrainedModel, source: str, *, dtype: torch.dtype, device: torch.device) -> Weights:
    """Where each tensor of a hollow model stands. Raises `UserMistake` where one does not, or has another shape, and
    `OSError` where the hub does not give the files."""
    found = _places(source)
    inner = f"{model.base_model_prefix}."
    names: defaultdict[int, list[str]] = defaultdict(list)
    places: dict[str, _Place] = {}
    tensors = dict(_tensors(model))
    for name, tensor in tensors.items():
        names[id(tensor)].append(name)
        for key in (name, name.removeprefix(inner)):
            if key in found:
                places[name] = found[key]
                break
    if getattr(model.config, "quantization_config", None) is not None:
        raise _unreadable("its weights are quantised already")
    if any(buffer.is_meta for buffer in model.buffers()):
        raise _unreadable("it computes what no file holds in a way of its own")
    for alike in names.values():
        there = [name for name in alike if name in places]
        if not there:
            raise _unreadable(f"its files hold no {alike[0]}")
        # Of a tied weight the files mostly hold one, under either name.
        places |= {name: places[there[0]] for name in alike if name not in places}
    weights = Weights(places, dtype=dtype, device=device)
    for name, shape in _shapes(places).items():
        if shape != tuple(tensors[name].shape):
            raise _unreadable(f"{name} is {shape} in its file, not {tuple(tensors[name].shape)}")
    for alike in names.values():
        others = [name for name in alike if places[name] != places[alike[0]]]
        if any(not torch.equal(weights.read(alike[0]), weights.read(other)) for other in others):
            raise _unreadable(
                f"{alike[0]} and {alike[1]} are one weight by its configuration, but not in its files"
            )
    return weights


def _tensors(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """All that a file holds of a module, sorted by name."""
    return iter(sorted(module.state_dict(keep_vars=True).items()))


class _Hollow(TorchFunctionMode):
    """Memory that modules ask for without saying what is in it is not given. That is how layers make their weights;
    what they compute, as rotations and masks, is computed."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = dict(kwargs or {})
        if func is torch.empty:
            options["device"] = "meta"
        return func(*args, **options)


def _places(source: str) -> dict[str, _Place]:
    """What the files that transformers would load hold, by name in the file."""
    file = _file(source, _SINGLE)
    if file is not None:
        files = [file]
    else:
        index = _file(source, _INDEX)
        if index is None:
            raise _unreadable(f"it has no {_SINGLE}")
        try:
            shards: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            names = sorted(set(shards.values()))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _unreadable(f"{index} lists no files") from None
        files = [each for name in names if (each := _file(source, name)) is not None]
    places: dict[str, _Place] = {}
    for file in files:
        changed = _changed(file)
        with _opened(file, changed) as held:
            places |= {key: _Place(file, key, changed) for key in held.keys()}  # noqa: SIM118  (it is no mapping)
    return places


def _file(source: str, name: str) -> Path | None:
    found: str | None = cast("Any", hub).cached_file(
        source, name, _raise_exceptions_for_missing_entries=False
    )
    return None if found is None else Path(found)


def _shapes(places: Mapping[str, _Place]) -> dict[str, tuple[int, ...]]:
    by_file: defaultdict[tuple[Path, int], list[str]] = defaultdict(list)
    for name, place in places.items():
        by_file[place.file, place.changed].append(name)
    shapes: dict[str, tuple[int, ...]] = {}
    for (file, changed), names in by_file.items():
        with _opened(file, changed) as held:
            shapes |= {name: tuple(held.get_slice(places[name].key).get_shape()) for name in names}
    return shapes


@contextmanager
def _opened(file: Path, changed: int) -> Generator[Any]:
    """A file as it was. Raises `UserMistake` where it is not."""
    if _changed(file) != changed:
        raise UserMistake(f"model.name: {file} has changed while it was in use; start again")
    try:
        held = cast("Any", safe_open)(file, framework="pt")
    except SafetensorError as error:
        raise UserMistake(f"model.name: {file} cannot be read: {str(error)[:160]}") from None
    with held:
        yield held


def _changed(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError as error:
        raise UserMistake(f"model.name: {file} cannot be read any more: {error.strerror}") from None


def _unreadable(why: str) -> UserMistake:
    return UserMistake(
        f'layers.context = "int8" or "int4" reads the model block by block, which this one does not allow: {why}; '
        'take layers.context = "none" or "drop"'
    )
