"""Reading a model's weights from its files a few at a time, so that the whole model is never in memory.

The model is made hollow: its parameters have shapes and no numbers (torch's meta device), its buffers are computed.
The numbers come from the safetensors files under the names of the model's tensors, with or without the prefix of the
inner model. Formats that transformers converts while it loads (experts stored separately, quantised weights) use other
names and are refused with one line. The numbers equal those that transformers loads, bit for bit, which a test
establishes. A file is mapped only while it is read, so that its pages do not count as the process's memory afterwards.

A file that has changed since the model was opened is refused: the model would be a mixture of two.
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
from gossipllm.model.loading.undrawn import Undrawn
from trust.errors import UserMistake

_SINGLE: Final = "model.safetensors"
_INDEX: Final = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class _Place:
    """The place of a tensor: file, key in the file, and the file's time of last change in nanoseconds."""

    file: Path
    key: str
    changed: int


class Weights:
    """The weights of one model, read from its files in one type and onto one device."""

    def __init__(self, places: Mapping[str, _Place], *, dtype: torch.dtype, device: torch.device) -> None:
        self._places = places
        self._dtype = dtype
        self._device = device

    def read(self, name: str) -> torch.Tensor:
        """The tensor of this name in the model without adapters. Raises `UserMistake` where the file has changed."""
        place = self._places[name]
        with _opened(place.file, place.changed) as held:
            value = cast("torch.Tensor", held.get_tensor(place.key))
            # A copy even where type and device are right already: the tensor is a view of the mapped file, which is
            # unmapped on return.
            dtype = self._dtype if value.is_floating_point() else value.dtype
            return value.to(self._device, dtype, copy=True)

    def fill(self, module: torch.nn.Module, *, prefix: str = "", but: str = " ") -> None:
        """Give a module's hollow tensors their numbers, in place.

        `prefix` is the module's place in the model. Tied tensors stay tied; tensors whose names begin with `but` stay
        hollow (the default matches none).
        """
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
    """The model of a folder or hub name with all its parameters on the meta device, frozen.

    Raises `OSError` or `ValueError` where there is no such model.
    """
    configs, models = cast("Any", AutoConfig), cast("Any", AutoModelForCausalLM)
    config = configs.from_pretrained(source, trust_remote_code=False)
    with Undrawn(), _Hollow():
        model: PreTrainedModel = models.from_config(config, dtype=dtype, trust_remote_code=False)
    return model.eval().requires_grad_(False)


def weights_of(model: PreTrainedModel, source: str, *, dtype: torch.dtype, device: torch.device) -> Weights:
    """The file and key of each tensor of a hollow model.

    Raises `UserMistake` where a tensor is missing or has another shape, and `OSError` where the hub does not return the
    files.
    """
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
        raise unreadable_by_blocks("its weights are quantised already")
    if any(buffer.is_meta for buffer in model.buffers()):
        raise unreadable_by_blocks("it computes what no file holds in a way of its own")
    for alike in names.values():
        there = [name for name in alike if name in places]
        if not there:
            raise unreadable_by_blocks(f"its files hold no {alike[0]}")
        # The files mostly hold a tied weight once, under the name of either tensor.
        places |= {name: places[there[0]] for name in alike if name not in places}
    weights = Weights(places, dtype=dtype, device=device)
    for name, shape in _shapes(places).items():
        if shape != tuple(tensors[name].shape):
            raise unreadable_by_blocks(f"{name} is {shape} in its file, not {tuple(tensors[name].shape)}")
    for alike in names.values():
        others = [name for name in alike if places[name] != places[alike[0]]]
        if any(not torch.equal(weights.read(alike[0]), weights.read(other)) for other in others):
            raise unreadable_by_blocks(
                f"{alike[0]} and {alike[1]} are one weight by its configuration, but not in its files"
            )
    return weights


def _tensors(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """All tensors of a module that are stored in files, sorted by name."""
    return iter(sorted(module.state_dict(keep_vars=True).items()))


class _Hollow(TorchFunctionMode):
    """Within this mode `torch.empty` allocates on the meta device.

    Layers allocate their weights with `torch.empty`; rotations, masks and other buffers that they compute are made with
    other functions and get their numbers. `with torch.device("meta")` would leave the buffers without numbers too.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = dict(kwargs or {})
        if func is torch.empty:
            options["device"] = "meta"
        return func(*args, **options)


def _places(source: str) -> dict[str, _Place]:
    """The tensors in the files that transformers would load, by their names there."""
    file = _file(source, _SINGLE)
    if file is not None:
        files = [file]
    else:
        index = _file(source, _INDEX)
        if index is None:
            raise unreadable_by_blocks(f"it has no {_SINGLE}")
        try:
            shards: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            names = sorted(set(shards.values()))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise unreadable_by_blocks(f"{index} lists no files") from None
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
    """Open a safetensors file. Raises `UserMistake` where it has changed since `changed` or cannot be read."""
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


def unreadable_by_blocks(why: str) -> UserMistake:
    """The line that refuses to hold a model in 8 or 4 bits, which reads it block by block."""
    return UserMistake(
        "model.held, layers.context: 8 and 4 bits read the model block by block, which this one does not allow: "
        f"{why}; "
        'take model.held = "whole", and layers.context = "none" or "drop"'
    )
