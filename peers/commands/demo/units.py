"""The unit in which the demo shows losses: perplexity, or bits a byte where the peers' models differ.

A perplexity belongs to one tokenizer; a smaller vocabulary has a lower one on the same text. Bits a byte compare.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from peers.commands.demo.demo_peers import DemoPeer


@dataclass(frozen=True, slots=True)
class Unit:
    """`shown` turns a peer's loss in nats a token, by its name, into a number of this unit."""

    name: str
    places: int
    shown: Callable[[str, float], float]


NATS: Final = Unit("loss, nats a token,", 3, lambda _, loss: loss)


def unit_of(peers_of_demo: Sequence[DemoPeer]) -> Unit:
    if not differ(peers_of_demo):
        return Unit("perplexity", 1, lambda _, loss: math.exp(min(loss, 50.0)))
    bits = bits_a_nat(peers_of_demo)
    return Unit("bits a byte", 3, lambda peer, loss: loss * bits[peer])


def differ(peers_of_demo: Sequence[DemoPeer]) -> bool:
    """Whether the peers hold different base models."""
    return len({one.config.model.name for one in peers_of_demo}) > 1


def bits_a_nat(peers_of_demo: Sequence[DemoPeer]) -> Mapping[str, float]:
    """For each peer the bits a byte of a nat a token, on the test text that it measures."""
    from gossipllm.model.loading.models import load_tokenizer
    from gossipllm.text.in_bytes.bits import bits_per_byte
    from gossipllm.text.windows import load_splits

    found: dict[str, float] = {}
    for one in peers_of_demo:
        data, tokenizer = one.config.data, load_tokenizer(one.config.model.name, "model.name")
        splits = load_splits(
            data, tokenizer, context_length=data.window_tokens, seed=one.config.training.seed
        )
        found[one.name] = bits_per_byte(1.0, splits.test_WT[: data.test_windows], tokenizer)
    return found
