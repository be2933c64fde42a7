"""LoRA adapters in PEFT's format: reading a folder, and the bytes of its tensors. Loads no torch, and runs nothing that
a folder holds.

The folder holds `adapter_config.json` and `adapter_model.safetensors`. What it stands for is, for each adapted module,
the product `scale * B A` that PEFT adds to the module's weight:

    scale = alpha / r    or, with `use_rslora`,    alpha / sqrt(r)    (rsLoRA, arXiv 2312.03732)

where `alpha_pattern` may give a module an alpha of its own; r is the rank that A has, so `rank_pattern` needs no
reading. What may be more than such products (DoRA, biases, whole modules, embeddings, replicated layers), or stands on
a base that its initialisation has changed (PiSSA and the like), is refused by name.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from safetensors import SafetensorError
from safetensors import deserialize as _deserialize  # pyright: ignore[reportUnknownVariableType]
from safetensors.numpy import save

from gossipllm.model.loading.files import check_files, read_config
from trust.errors import UserMistake
from wire.floats import F32, bf16_values

CONFIG: Final = "adapter_config.json"
TENSORS: Final = "adapter_model.safetensors"
PREFIX: Final = "base_model.model."
BASE_KEY: Final = "gossipllm_base"
"""Key of the fingerprint of the base in the metadata of the tensors, where a peer of this project wrote them."""

_ENDS: Final = (".lora_A.weight", ".lora_B.weight")
_HARMLESS: Final = frozenset(
    {
        *("task_type", "peft_type", "peft_version", "auto_mapping", "runtime_config", "inference_mode"),
        *("base_model_name_or_path", "revision", "target_modules", "exclude_modules"),
        *("layers_to_transform", "layers_pattern", "ensure_weight_tying"),
        *("r", "lora_alpha", "lora_dropout", "use_rslora", "rank_pattern", "alpha_pattern", "fan_in_fan_out"),
        *("init_lora_weights", "loftq_config", "eva_config", "corda_config", "lora_ga_config"),
        *("megatron_core", "qalora_group_size"),
    }
)
"""Keys of a configuration that leave an adapter a set of products, whatever their value. Another key does so where it
is off; so a kind of adapter that a later version of PEFT brings is refused and not misread."""
_OFF: Final[tuple[object, ...]] = (None, False, "none", [], {}, "")
_PLAIN_STARTS: Final = (None, True, False, "gaussian", "orthogonal")
"""Values of `init_lora_weights` that leave the base as it is."""


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """What an adapter adds to a weight of O outputs and I inputs: `scale * b_OR @ a_RI`."""

    a_RI: F32
    b_OR: F32
    scale: float

    @property
    def rank(self) -> int:
        return self.a_RI.shape[0]


@dataclass(frozen=True, slots=True, eq=False)
class PeftAdapter:
    """A folder's products by module. `base` is the name of the base that the folder gives, `fingerprint` that of its
    weights, each empty where the folder does not say."""

    base: str
    fingerprint: bytes
    fan_in_fan_out: bool
    products: Mapping[str, Product]


def peft_tensors(factors: Mapping[str, F32], fingerprint: bytes) -> bytes:
    """The file of tensors of an adapter. `factors` are by module and ".lora_A" or ".lora_B"; `fingerprint` is that of
    the weights of the base, empty where it is not known. Equal arguments give equal bytes."""
    tensors = {f"{PREFIX}{name}.weight": np.ascontiguousarray(values) for name, values in factors.items()}
    metadata = {"format": "pt"} | ({BASE_KEY: fingerprint.hex()} if fingerprint else {})
    data = save(tensors, metadata=metadata)
    # The library writes the metadata in an order that differs from call to call.
    length = int.from_bytes(data[:8], "little")
    head = json.loads(data[8 : 8 + length])
    ordered = {"__metadata__": metadata} | {name: head[name] for name in tensors}
    text = json.dumps(ordered, separators=(",", ":"), ensure_ascii=False)
    return data[:8] + text.encode().ljust(length) + data[8 + length :]


def is_peft_folder(folder: Path) -> bool:
    return (folder / CONFIG).is_file()


def read_peft(folder: Path, key: str) -> PeftAdapter:
    """The adapter in this folder. `key` is the flag or argument that named it.

    Raises `UserMistake` where the folder holds none, is damaged, or holds what is more than low-rank products.
    """
    if not is_peft_folder(folder):
        raise UserMistake(f"{key}: {folder} holds no {CONFIG}, so it is no PEFT folder")
    if not (folder / TENSORS).is_file():
        more = " (adapter_model.bin can hold code and is not read; save it again as safetensors)"
        raise UserMistake(
            f"{key}: {folder} holds no {TENSORS}{more if (folder / 'adapter_model.bin').is_file() else ''}"
        )
    check_files(folder, key)
    config = read_config(folder / CONFIG, key)
    _check_kind(config, folder, key)
    tensors, metadata = _tensors(folder / TENSORS, key)
    return PeftAdapter(
        base=_text(config.get("base_model_name_or_path")),
        fingerprint=_fingerprint(metadata),
        fan_in_fan_out=config.get("fan_in_fan_out") is True,
        products=_products(tensors, config, folder, key),
    )


def _check_kind(config: Mapping[str, object], folder: Path, key: str) -> None:
    kind = config.get("peft_type")
    if kind != "LORA":
        raise UserMistake(f"{key}: {folder} holds an adapter of the kind {kind!r}; only LORA is read")
    for name, value in config.items():
        if name not in _HARMLESS and value not in _OFF:
            raise UserMistake(
                f"{key}: {folder} has {name} set, so its adapter may be more than products of two factors"
            )
    start = config.get("init_lora_weights", True)
    if start not in _PLAIN_STARTS:
        raise UserMistake(
            f"{key}: {folder} was begun with init_lora_weights = {start!r}, which changes the base; convert it to "
            "plain LoRA first (PEFT: save_pretrained(..., path_initial_model_for_weight_conversion=...))"
        )


def _tensors(path: Path, key: str) -> tuple[dict[str, F32], dict[str, object]]:
    try:
        data = path.read_bytes()
        entries = cast("list[tuple[str, dict[str, Any]]]", _deserialize(data))
    except OSError as error:
        raise UserMistake(f"{key}: {path} cannot be read: {error.strerror}") from None
    except SafetensorError as error:
        raise UserMistake(f"{key}: {path} is damaged: {error}") from None
    length = int.from_bytes(data[:8], "little")
    metadata = cast("dict[str, object]", json.loads(data[8 : 8 + length]).get("__metadata__") or {})
    return {name: _values(path, name, entry, key) for name, entry in entries}, metadata


def _values(path: Path, name: str, entry: Mapping[str, Any], key: str) -> F32:
    raw, shape = entry["data"], tuple(entry["shape"])
    match entry["dtype"]:
        case "BF16":
            values = bf16_values(np.frombuffer(raw, "<u2"))
        case "F16" | "F32" | "F64" as kind:
            values = np.frombuffer(raw, f"<f{int(kind[1:]) // 8}").astype(np.float32)
        case kind:
            raise UserMistake(f"{key}: {path} holds {name} as {kind}, which is no number of LoRA factors")
    if not np.isfinite(values).all():
        raise UserMistake(f"{key}: {path} holds numbers in {name} that are not finite")
    return values.reshape(shape)


def _products(
    tensors: Mapping[str, F32], config: Mapping[str, object], folder: Path, key: str
) -> dict[str, Product]:
    for name in tensors:
        if not name.startswith(PREFIX) or not name.endswith(_ENDS):
            raise UserMistake(f"{key}: {folder / TENSORS} holds {name}, which is no factor of a linear layer")
    modules = dict.fromkeys(name.removeprefix(PREFIX).removesuffix(end) for end in _ENDS for name in tensors)
    modules = {one: None for one in modules if not one.endswith(_ENDS)}
    if not modules:
        raise UserMistake(f"{key}: {folder / TENSORS} holds no factors")
    products: dict[str, Product] = {}
    for module in sorted(modules):
        a, b = (tensors.get(f"{PREFIX}{module}{end}") for end in _ENDS)
        if a is None or b is None or a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1] or not a.size:
            raise UserMistake(f"{key}: {folder / TENSORS} holds no pair of factors for {module} that fit")
        products[module] = Product(a, b, _scale(config, module, a.shape[0], folder, key))
    return products


def _scale(config: Mapping[str, object], module: str, rank: int, folder: Path, key: str) -> float:
    patterns = cast("dict[str, object]", config.get("alpha_pattern") or {})
    try:
        own = [alpha for pattern, alpha in patterns.items() if re.match(rf"(.*\.)?({pattern})$", module)]
    except re.error as error:
        raise UserMistake(f"{key}: {folder / CONFIG} has an alpha_pattern that is none: {error}") from None
    alpha = own[0] if own else config.get("lora_alpha")
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not math.isfinite(alpha):
        raise UserMistake(f"{key}: {folder / CONFIG} gives {module} the alpha {alpha!r}, which is no number")
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _fingerprint(metadata: Mapping[str, object]) -> bytes:
    try:
        return bytes.fromhex(_text(metadata.get(BASE_KEY)))
    except ValueError:
        return b""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
