"""The shape of a random base, and shapes with a name. Importing this loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SMALLEST_VOCABULARY: Final = 258
"""The 256 bytes, the end of a text and padding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseShape:
    """A Llama: rotary positions, gated feed-forward layers, RMS norms and a head that is tied to the embeddings."""

    seed: str = "gossipllm"
    """Public seed of the weights. Same for all peers: equal seeds and shapes give equal weights on every machine."""

    hidden: int = 128
    """Width of the hidden states, 8 to 16,384; a multiple of `heads` with an even quotient."""

    layers: int = 4
    """Number of blocks, 1 to 256."""

    heads: int = 4
    """Attention heads of a block, 1 to 256."""

    kv_heads: int = 0
    """Heads of keys and values, a divisor of `heads`; 0 for as many as heads."""

    feed_forward: int = 0
    """Width within the feed-forward layers, up to 131,072; 0 for 8/3 of `hidden`, rounded up to a multiple of 32
    (Shazeer, 2002.05202: as many weights as two layers of four times the width)."""

    vocabulary: int = 1024
    """Tokens of a tokenizer that is trained for the base, 258 to 65,536; less where the text has no more. A tokenizer
    of another model keeps its own number."""

    window: int = 256
    """Longest text in tokens, 16 to 1,048,576."""

    def __post_init__(self) -> None:
        if not self.seed.strip():
            raise ValueError("seed must not be empty")
        for name, least, most in (
            ("hidden", 8, 16_384),
            ("layers", 1, 256),
            ("heads", 1, 256),
            ("kv_heads", 0, 256),
            ("feed_forward", 0, 131_072),
            ("vocabulary", SMALLEST_VOCABULARY, 65_536),
            ("window", 16, 2**20),
        ):
            value: int = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} must be in {least}..{most}, got {value}")
        if self.hidden % (2 * self.heads):
            # Rotary positions turn pairs of numbers of a head.
            raise ValueError(f"hidden must be a multiple of 2 * heads ({2 * self.heads}), got {self.hidden}")
        if self.heads % self.key_value_heads:
            raise ValueError(f"kv_heads must divide heads ({self.heads}), got {self.kv_heads}")

    @property
    def key_value_heads(self) -> int:
        return self.kv_heads or self.heads

    @property
    def feed_forward_width(self) -> int:
        return self.feed_forward or -(-8 * self.hidden // 3 // 32) * 32


PRESETS: Final[dict[str, BaseShape]] = {
    "nano": BaseShape(hidden=32, layers=2),
    "tiny": BaseShape(hidden=96, layers=3),
    "small": BaseShape(),
    "medium": BaseShape(hidden=256, vocabulary=4096),
    "135m": BaseShape(
        hidden=576, layers=30, heads=9, kv_heads=3, feed_forward=1536, vocabulary=49_152, window=2048
    ),
}
"""Name -> shape: 0.06, 0.4, 0.9, 4.2 and 135 million weights at most. "nano" is for comparisons on a CPU, "medium" is
near the embedded model, "135m" has the shape of SmolLM2-135M."""
