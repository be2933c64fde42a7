"""The ways to take a training step, from the best to the one with the least memory, and what each of them holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gossipllm.config import LearnerConfig
from gossipllm.device.plan.planner import Form
from gossipllm.learning.passes.memory.step_memory import step_memory
from gossipllm.learning.shared_model import SharedModel
from gossipllm.model.adapter.blueprint import Blueprint


def forms_of(config: LearnerConfig, shared: SharedModel, blueprint: Blueprint) -> Iterator[Form]:
    """The ways to take a step, from the best to the one with the least memory, by the estimate of its memory."""
    layers, blocks = config.layers, blueprint.layers
    partial: dict[str, int | str | bool] = {"layers.checkpoint": True}
    variants: list[tuple[str, LearnerConfig, int, dict[str, int | str | bool]]] = []
    count = layers.count or blocks
    variants.append((f"{count} of {blocks} blocks" if layers.partial else "all blocks", config, count, {}))
    if not layers.checkpoint:
        recomputed = replace(config, layers=replace(layers, checkpoint=True))
        variants.append(("recomputed activations", recomputed, count, partial))
    for fewer in sorted({blocks // 2, 1} - {0, blocks}, reverse=True) if not layers.partial else ():
        try:
            few = replace(config, layers=replace(layers, checkpoint=True, count=fewer))
        except ValueError:
            # Heads, push-sum and the like train whole adapters.
            break
        variants.append((f"{fewer} of {blocks} blocks", few, fewer, {**partial, "layers.count": fewer}))
    for name, changed, count, settings in variants:
        one, eight = (_bytes(changed, shared, blueprint, count, windows) for windows in (1, 8))
        token_bytes = (eight - one) / (7 * config.data.window_tokens)
        yield Form(
            name=name,
            held_bytes=one - token_bytes * config.data.window_tokens,
            token_bytes=token_bytes,
            settings=tuple(settings.items()),
        )


def with_batch(config: LearnerConfig, windows: int) -> LearnerConfig:
    """The configuration with steps of so many windows, all in one pass."""
    training = replace(config.training, batch_windows=windows, batch_tokens=0, micro_windows=0)
    return replace(config, training=training)


def _bytes(config: LearnerConfig, shared: SharedModel, blueprint: Blueprint, count: int, windows: int) -> int:
    return step_memory(with_batch(config, windows), shared.base, blueprint, count).total
