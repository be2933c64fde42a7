"""The frozen base model: finding it, loading it, and its fingerprint.

Adapters only make sense on the base that they were trained on. The base's fingerprint therefore covers its weights,
rounded to bfloat16 so that peers that load float32 and peers that load bfloat16 agree, and those settings of the
architecture that change what the weights compute. Number, names and dates of files do not enter, nor how attention is
computed, nor where a version of transformers keeps the settings of rotary positions.

Weights are read from safetensors only, and code that comes with a model is never run: both formats that execute code
(pickle, `trust_remote_code`) would let whoever publishes a model run programs on every peer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from gossipllm import base as embedded
from gossipllm.config import ModelConfig
from gossipllm.exhaustion import is_exhaustion
from gossipllm.model.attention import use_short_attention
from gossipllm.model.blocks import blocks_name, plain, stated
from gossipllm.model.loading.files import check_model_folder
from gossipllm.model.loading.hub import ask_hub, cached_folder
from gossipllm.model.loading.weights import Weights, hollow_model, weights_of
from trust.counting import counted
from trust.errors import UserMistake
from wire.digest import fingerprint_of

_FUNCTION_KEYS: Final = (
    "model_type",
    "num_attention_heads",
    "num_key_value_heads",
    "n_head",
    "head_dim",
    "rope_parameters",
    "rope_theta",
    "rope_scaling",
    "partial_rotary_factor",
    "rms_norm_eps",
    "layer_norm_eps",
    "layer_norm_epsilon",
    "hidden_act",
    "activation_function",
    "hidden_activation",
    "scale_attn_weights",
    "scale_attn_by_inverse_layer_idx",
    "sliding_window",
    "use_sliding_window",
    "layer_types",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "query_pre_attn_scalar",
    "embedding_multiplier",
    "residual_multiplier",
    "attention_multiplier",
    "logits_scaling",
    "num_experts_per_tok",
    "norm_topk_prob",
)
"""Settings that change what a model computes while names and shapes of its weights stay the same."""

_LENGTH_KEYS: Final = ("max_position_embeddings", "max_target_positions", "max_seq_len")
"""Settings that bound the length of a text, each of some families."""


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """A frozen model in evaluation mode, so that dropout is off, and its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    device: torch.device
    dtype: torch.dtype

    @property
    def context_length(self) -> int:
        """The most tokens that the model can read."""
        lengths: list[object] = [stated(self.model, key) for key in _LENGTH_KEYS]
        # Models without position embeddings (ALiBi, for example) state no limit.
        return min((one for one in lengths if isinstance(one, int) and one > 0), default=2**31 - 1)

    @property
    def vocabulary(self) -> int:
        """Width of the logits, which may exceed the tokenizer's vocabulary."""
        head = cast("Any", self.model.get_output_embeddings())
        if head is None:
            return int(cast("Any", self.model.config).get_text_config().vocab_size)
        return int(head.weight.shape[0])


def load_base(config: ModelConfig) -> Base:
    """The model that `config.name` names, frozen. Raises `UserMistake` where it cannot be loaded."""
    source, device, dtype = _prepared(config)
    tokenizer = load_tokenizer(config.name, "model.name")
    loaded: Any = _load_model(source, dtype)
    model: PreTrainedModel = loaded.to(device)
    use_short_attention(model)
    return Base(model, tokenizer, device, dtype)


def open_base(config: ModelConfig) -> tuple[Base, Weights]:
    """The model that `config.name` names with hollow blocks, which `Weights.fill` can give their numbers one block at
    a time. Raises `UserMistake` where it cannot be loaded, or its files cannot be read tensor by tensor."""
    source, device, dtype = _prepared(config)
    tokenizer = load_tokenizer(config.name, "model.name")
    try:
        model = hollow_model(source, dtype)
        blocks = blocks_name(model)
    except Exception as error:
        if is_exhaustion(error):
            raise
        raise _not_loaded(source, "model", error, "model.name") from None
    try:
        weights = weights_of(model, source, dtype=dtype, device=device)
    except OSError as error:
        raise _not_loaded(source, "model", error, "model.name") from None
    weights.fill(model, but=f"{blocks}.")
    # Each buffer by itself, because `Module.to` raises on parameters that are on the meta device.
    for name, buffer in list(model.named_buffers()):
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, buffer.to(device))
    use_short_attention(model)
    return Base(model, tokenizer, device, dtype), weights


def hollow_base(config: ModelConfig) -> Base:
    """The model that `config.name` names with all parameters on the meta device: its structure and no numbers. Raises
    `UserMistake` where it cannot be read."""
    source, device, dtype = _prepared(config)
    tokenizer = load_tokenizer(config.name, "model.name")
    try:
        return Base(hollow_model(source, dtype), tokenizer, device, dtype)
    except Exception as error:
        if is_exhaustion(error):
            raise
        raise _not_loaded(source, "model", error, "model.name") from None


def load_tokenizer(name: str, key: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, without loading the weights. `key` is the setting or flag that named the model, for
    error messages."""
    source = _source(name, key)
    loader: Any = AutoTokenizer
    try:
        return loader.from_pretrained(source, trust_remote_code=False)
    except Exception as error:
        if is_exhaustion(error):
            raise
        raise _not_loaded(source, "tokenizer", error, key) from None


def pick_device(wanted: str) -> torch.device:
    """The device for "auto", "cpu", "cuda" or "mps". Raises `UserMistake` where torch does not find it."""
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserMistake("model.device is cuda, but torch finds no such device; use auto or cpu")
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise UserMistake("model.device is mps, but torch finds no such device; use auto or cpu")
    return torch.device(wanted)


def pick_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """The type of the base's weights: for "auto", bfloat16 where the device multiplies it natively, else float32.

    Measured on one Zen 4 core (AVX512-BF16), tokens a second in training, float32 then bfloat16: 3,100 and
    4,000 for the embedded model, 230 and 460 at width 768, 87 and 167 at width 2,048. Without such
    instructions torch emulates bfloat16 and is slower than with float32.
    """
    if wanted != "auto":
        return torch.float32 if wanted == "float32" else torch.bfloat16
    match device.type:
        case "cuda":
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        case "cpu":
            able: Mapping[str, Any] = torch.cpu.get_capabilities()
            native = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
        case _:
            native = False
    return torch.bfloat16 if native else torch.float32


def base_fingerprint(model: PreTrainedModel, weights: Weights | None = None) -> bytes:
    """32 bytes: the weights as bfloat16, tied ones once, by sorted name; and the settings that steer them.

    With `weights`, all numbers are read from there, one tensor at a time, so that parts of `model` may be hollow. There
    must be no adapters around the model's layers yet, because they rename its tensors.
    """
    return fingerprint_of("gossipllm/base/1", _named_parts(model, weights))


def _named_parts(model: PreTrainedModel, weights: Weights | None) -> Iterator[bytes]:
    config: dict[str, Any] = cast("Any", model.config).get_text_config().to_dict()
    yield json.dumps(_function(config), sort_keys=True).encode()
    seen: set[int] = set()
    for name, tensor in sorted(model.state_dict(keep_vars=True).items()):
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        yield name.encode()
        yield ",".join(map(str, tensor.shape)).encode()
        yield _bf16_bytes(tensor.detach() if weights is None else weights.read(name))


def _function(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that change what a model computes, in the form of today's transformers.

    Settings of rotary positions moved into `rope_parameters`, at versions that differ by family: 5.0 holds
    `partial_rotary_factor` in both places for Phi-3, Phi, StableLM, GLM, Persimmon, Nemotron, Bamba and Qwen3-Next, and
    5.23 in the new one alone.
    """
    settings = {key: config[key] for key in _FUNCTION_KEYS if config.get(key) is not None}
    rope: object = settings.get("rope_parameters")
    if not isinstance(rope, dict) or not rope:
        return settings
    each = cast("dict[str, Any]", rope)
    by_layer = all(isinstance(one, dict) for one in each.values())
    moved = {key: settings.pop(key) for key in ("rope_theta", "partial_rotary_factor") if key in settings}
    settings["rope_parameters"] = (
        {key: moved | one for key, one in each.items()} if by_layer else moved | each
    )
    return settings


def spoiled_weight(model: PreTrainedModel) -> str | None:
    """The name of the first weight that holds numbers that are not finite; None where there is none, or it is not in
    memory."""
    for name, tensor in sorted(model.state_dict(keep_vars=True).items()):
        if tensor.is_floating_point() and not tensor.is_meta and not bool(torch.isfinite(tensor).all()):
            return plain(name)
    return None


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> bytes:
    """32 bytes: the rules by which a text becomes ids, and the names of the special tokens."""
    names = {key: str(value) for key, value in tokenizer.special_tokens_map.items()}
    special = json.dumps(names, sort_keys=True)
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        rules = {"kind": type(tokenizer).__name__, "vocabulary": tokenizer.get_vocab()}
    else:
        rules = json.loads(backend.to_str())
        # Truncation and padding are left from the last call, and the version is the file format's: none of the three
        # changes the ids of a text.
        for passing in ("version", "truncation", "padding"):
            rules.pop(passing, None)
    parts = (json.dumps(rules, sort_keys=True).encode(), special.encode())
    return fingerprint_of("gossipllm/tokenizer/1", parts)


def _bf16_bytes(tensor: torch.Tensor) -> bytes:
    if not tensor.is_floating_point():
        return tensor.cpu().contiguous().numpy().tobytes()
    rounded = tensor.to(torch.bfloat16).contiguous().cpu()
    return rounded.view(torch.int16).numpy().tobytes()


def _prepared(config: ModelConfig) -> tuple[str, torch.device, torch.dtype]:
    """The folder or hub name to load from, the device, and the type of the weights."""
    if config.threads:
        torch.set_num_threads(config.threads)
    device = pick_device(config.device)
    source = _source(config.name, "model.name")
    if Path(source).is_dir():
        check_model_folder(Path(source), "model.name")
    return source, device, pick_dtype(config.dtype, device)


def _source(name: str, key: str) -> str:
    """The folder that transformers loads from, or the name of a model to download. Raises `UserMistake`."""
    source = str(embedded.model_folder(name)) if name in embedded.MODELS else name
    folder = Path(source).expanduser()
    if folder.is_dir():
        return str(folder)
    if source.startswith(("/", ".", "~")):
        # No hub name begins like this.
        raise UserMistake(f"{key}: there is no folder {source}")
    cached = cached_folder(source)
    if cached is None:
        ask_hub(source, key)
    return str(cached or source)


def _load_model(source: str, dtype: torch.dtype) -> PreTrainedModel:
    loader: Any = AutoModelForCausalLM
    try:
        model, found = loader.from_pretrained(
            source, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    except Exception as error:
        if is_exhaustion(error):
            raise
        raise _not_loaded(source, "model", error, "model.name") from None
    # transformers only warns about a missing weight and draws it at random, differently on every peer.
    if found["missing_keys"]:
        missing: list[str] = sorted(found["missing_keys"])
        raise UserMistake(
            f"model.name: {source} lacks {counted(len(missing), 'weight')}, the first is {missing[0]}"
        )
    return model.eval().requires_grad_(False)


def _not_loaded(source: str, what: str, error: Exception, key: str) -> UserMistake:
    reason = " ".join(str(error).split())[:160]
    if Path(source).is_dir():
        return UserMistake(f"{key}: the {what} in {source} cannot be read: {reason}")
    return UserMistake(f'{key}: "{source}" is no folder here, and the hub did not give its {what}: {reason}')
