"""Tiny configurations of every family of causal language models, made from the family's default by one law.

The law: the name of a setting says what kind of size it is, and each kind has one value here (`KINDS`). The values fit
each other as those of real models do: heads times the width of a head is the width, and so on. A model has as many
layers as it takes to have each kind of layer once, and lists with an entry for each layer are cut with them. What a
name cannot say stands in `EXCEPTIONS`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, cast

from transformers import CONFIG_MAPPING, PreTrainedConfig

WIDTH: Final = 32
HEADS: Final = 4
VOCABULARY: Final = 384
"""At least the tokens of `support.zoo.folders.tokenizer`, and more, as where a vocabulary was padded."""
MOST_LAYERS: Final = 4

KINDS: Final[tuple[tuple[str, int], ...]] = (
    (r"qk_head_dim", 2 * WIDTH // HEADS),
    (r"num_experts_per_tok(en)?|(moe_)?top_?k|moe_k", 2),
    (r"topk_group|n_group|num_expert_group|first_k_dense_replace|num_dense_layers", 1),
    (r".*num_shared_experts|n_shared_experts|zero_expert_num", 1),
    (r".*(num|n)_(local_|routed_)?experts", 4),
    (r".*mamba.*heads", 8),
    (r".*(head_dim|head_size|d_head|headdim|dim_head|kv_channels|d_kv|rotary_dim)", WIDTH // HEADS),
    (r".*heads?", HEADS),
    (r".*rank", 8),
    (r".*state_size|.*d_state", 8),
    (r"hidden_size_per_layer_input|embedding_size|.*embed_proj_dim", 16),
    (
        r".*(intermediate|ffn|mlp|ff|feed_forward)_?(hidden_)?(size|dim)(_mlp)?|d_?ff|d_inner|n_inner|mamba_d_ssm",
        48,
    ),
    (r".*(hidden|embed|emb|model|embedding)_(size|dim)(_global)?|d_model|n_embd|lru_width", WIDTH),
    (r".*(window|window_size|window_len|chunk_size|chunk_length)|block_size|local_attention", 16),
    (r"(max|n)_.*(positions?|embeddings|seq_len)|n_ctx|context_length|model_max_length", 64),
)
"""Pattern of a whole name -> the size; the first that matches counts."""
_LAYERS: Final = r"(num_)?(hidden_|decoder_|encoder_|global_)?layers|n_layers?|num_blocks|depth"

_SHARED_CACHES: Final = {
    "num_hidden_layers": 4,
    "num_kv_shared_layers": 2,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "intermediate_size": [48] * 4,
    "activation_sparsity_pattern": [0.5, 0.0] * 2,
}
_INDEXED: Final = {
    "layer_types": [*["linear_attention"] * 3, "indexed_attention"],
    "index_topk": 4,
    "index_n_heads": 2,
}
EXCEPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "blt": {
        "encoder_hash_byte_group_vocab": 64,
        "encoder_hash_byte_group_size": [2, 3],
    },
    "cohere_compass_text": {
        "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}}
    },
    "cpmant": {"position_bias_num_buckets": 16, "prompt_length": 4},
    "deepseek_v2": {"num_experts_per_tok": 2},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "dots3_note": {"vision_config": {"adapter_in_dim": WIDTH, "adapter_out_dim": WIDTH, "image_size": 28}},
    "gemma3n_text": _SHARED_CACHES,
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8, "num_experts": 4, "moe_topk": 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "longcat_flash": {"head_dim": 8},
    "mamba2": {"num_heads": 8},
    "ministral": {"head_dim": 8},
    "nemotron": {"num_key_value_heads": 2},
    "qwen4_exp": {"text_config": _INDEXED},
    "qwen4_exp_text": _INDEXED,
    "reformer": {"is_decoder": True, "axial_pos_shape": [8, 8], "axial_pos_embds_dim": [16, 16]},
    "zamba": {
        "num_hidden_layers": 4,
        "layers_block_type": ["linear_attention", "hybrid"] * 2,
        "attention_hidden_size": 2 * WIDTH,
        "attention_head_dim": 2 * WIDTH // HEADS,
    },
    "xmod": {"default_language": "en_XX", "is_decoder": True},
}
"""Family -> settings that the law cannot know: sizes that no default names, and demands of a family's own."""


def tiny(family: str) -> PreTrainedConfig:
    """A small configuration of this `model_type`."""
    default: Any = cast("Any", CONFIG_MAPPING)[family]()
    return type(default)(**_small(default, EXCEPTIONS.get(family, {})))


def _small(config: Any, exceptions: Mapping[str, Any]) -> dict[str, Any]:
    held: dict[str, Any] = {
        name: value
        for name, value in cast("Mapping[str, Any]", vars(config)).items()
        if not name.startswith("_")
    }
    layers, deep = _layers(held), max(_depths(held), default=0)
    small: dict[str, Any] = {}
    for name, value in held.items():
        if name == "rope_parameters" or name.endswith("2label") or name == "label2id":
            continue
        new = value
        if isinstance(value, PreTrainedConfig):
            new = _small(value, exceptions.get(name, {}))
        elif isinstance(value, list | tuple) and len(cast("list[Any]", value)) == deep > layers:
            new = list(cast("list[Any]", value))[:layers]
        elif isinstance(value, int) and not isinstance(value, bool):
            new = _size(name, value, held, layers)
        if new is not value:
            small[name] = new
    nested = {name for name in exceptions if isinstance(held.get(name), PreTrainedConfig)}
    return small | {name: value for name, value in exceptions.items() if name not in nested}


def _size(name: str, value: int, held: Mapping[str, Any], layers: int) -> int | None:
    if re.fullmatch(r".*vocab_size.*", name):
        return min(value, VOCABULARY)
    if name == "pad_token_id":
        # No token of the text: the embedding of padding is zero, where some norms have no slope.
        return 1
    if re.fullmatch(r".*(token_id|token_index)", name):
        return value if value < VOCABULARY else VOCABULARY - 1
    if re.fullmatch(_LAYERS, name):
        return min(layers, value)
    for pattern, size in KINDS:
        if re.fullmatch(pattern, name):
            if size == HEADS and re.fullmatch(r".*(kv|key_value|key).*", name):
                return HEADS if value >= max(_heads(held), default=value) else min(value, HEADS // 2)
            return min(size, value)
    return value


def _heads(held: Mapping[str, Any]) -> list[int]:
    return [
        held[name] for name in ("num_attention_heads", "n_head", "n_heads", "num_heads") if held.get(name)
    ]


def _depths(held: Mapping[str, Any]) -> list[int]:
    return [value for name, value in held.items() if re.fullmatch(_LAYERS, name) and isinstance(value, int)]


def _layers(held: Mapping[str, Any]) -> int:
    """The least number of layers in which each kind of layer occurs; 2 where all are alike."""
    deep = max(_depths(held), default=0)
    needed = 2
    for name, value in held.items():
        if "type" in name and isinstance(value, list | tuple) and len(cast("list[Any]", value)) == deep:
            kinds = [str(one) for one in cast("list[Any]", value)]
            needed = max(needed, *(kinds.index(kind) + 1 for kind in set(kinds)))
    return min(needed, MOST_LAYERS)
