"""Settings of the frozen base model: which one, and on which device."""

from __future__ import annotations

from dataclasses import dataclass

from gossipllm.config.choices import Device, Dtype, Held

EMBEDDED = "embedded"
"""The name of the largest model and of the reference text that ship with the package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    name: str = EMBEDDED
    """The frozen base model: "embedded" (or its siblings "embedded-small" and "embedded-1024"), a folder, or a name on
    the Hugging Face hub. Same for all peers."""

    device: Device = "auto"
    """Where to compute: auto takes cuda, then mps, then cpu."""

    dtype: Dtype = "auto"
    """Type of the frozen base; auto takes bfloat16 where the device is fast at it. Adapters train
    in float32."""

    held: Held = "whole"
    """How the frozen linear layers of the blocks are held while adapters on all of them are trained (QLoRA,
    2305.14314): "whole"; in 8 or 4 bits of this program's own ("int8", "int4"), on any device; or in bitsandbytes'
    4-bit "nf4", on CUDA, which needs the extra [cuda]. An adapter learns to correct its base: use the export with the
    base held alike, or expect a little more loss. With "int8" and "int4" the model is read block by block and never
    whole in memory. Peers may differ in it."""

    threads: int = 0
    """Processor threads for the learner, 0 to let torch choose. Take 1 where several peers share a machine:
    more threads than idle cores make training several times slower."""

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ValueError('name must be "embedded", a folder or a hub name, got an empty string')
        if not 0 <= self.threads <= 1024:
            raise ValueError(f"threads must be in 0..1024, got {self.threads}")
