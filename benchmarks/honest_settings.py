"""The settings of `honest_table.py`: who holds which text, and the scenario of each.

| setting   | peers                                                                                       |
| --------- | ------------------------------------------------------------------------------------------- |
| languages | three languages, three peers of each (multi-wiki)                                            |
| topics    | four topics of one language, three peers of each                                             |
| clones    | as languages, but the peers of a language hold the very same text: merging can only average  |
| unrelated | six peers of six kinds (`six_kinds.py`): nobody can help                                     |
| identical | nine peers, each with equal parts of three languages: plain averaging is right               |

Every peer holds little text and trains for ten passes over it, because only who has learned what its own text holds can
show what the others' text is worth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from corpora import EMBEDDED, Corpus, load
from six_kinds import six_kinds
from small_base import TINY

from gossipllm.config import AdapterConfig, ModelConfig, ReferenceConfig, TrainingConfig
from gossipllm.text.dealing.partitions import PartitionConfig, PartitionKind
from peers.core.config import RoundConfig
from sim.experiments.scenarios import Scenario, TextConfig

ROUND_STEPS: Final = 20
BATCH: Final = 4
WARMUP: Final = 10
TRUST_WINDOWS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """`corpus` names the text for caches of the base; `load` reads it."""

    corpus: str
    load: Callable[[Path], Corpus]
    peers: int
    partition: PartitionKind = "exclusive"
    embedded: bool = True
    """Whether the embedded text suffices."""


def _languages(data: Path) -> Corpus:
    return load(data, "multi-wiki")


SETTINGS: Final[dict[str, Setting]] = {
    "languages": Setting(corpus="multi-wiki", load=_languages, peers=9),
    "topics": Setting(corpus="topics", load=lambda data: load(data, "topics"), peers=12, embedded=False),
    "clones": Setting(corpus="multi-wiki", load=_languages, peers=9, partition="clones"),
    "unrelated": Setting(corpus="six-kinds", load=six_kinds, peers=6),
    "identical": Setting(corpus="multi-wiki", load=_languages, peers=9, partition="iid"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """How much text each peer has, in tokens, and for how many passes over it it trains."""

    train_tokens: int
    test_tokens: int
    epochs: int

    @property
    def rounds(self) -> int:
        steps = self.epochs * self.train_tokens / TINY.context / BATCH
        return max(1, round(steps / ROUND_STEPS))


def amounts(data: Path, tokens: int | None, epochs: int) -> Amounts:
    """The embedded text is so short that three peers of a language have 8,192 tokens each."""
    if data == EMBEDDED:
        return Amounts(train_tokens=tokens or 8_192, test_tokens=2_048, epochs=epochs)
    return Amounts(train_tokens=tokens or 10_240, test_tokens=4_096, epochs=epochs)


def scenario_of(
    name: str,
    setting: Setting,
    amount: Amounts,
    *,
    corpus: Corpus,
    texts: Path,
    model: Path,
    peers: int | None,
    seeds: tuple[int, ...],
    methods: tuple[str, ...],
    rate: float,
    patience: int,
) -> Scenario:
    """One setting at one learning rate. The rate falls over the whole run; a run ends early only by `patience`."""
    return Scenario(
        name=name,
        peers=peers or setting.peers,
        seeds=seeds,
        methods=methods,
        patience=patience,
        data=TextConfig(
            sources=tuple(str(texts / f"{kind.name}.jsonl") for kind in corpus.kinds),
            window_tokens=TINY.context,
            trust_windows=TRUST_WINDOWS,
            test_windows=amount.test_tokens // TINY.context,
            partition=PartitionConfig(
                kind=setting.partition,
                train_tokens=amount.train_tokens,
                trust_tokens=TRUST_WINDOWS * TINY.context,
                test_tokens=amount.test_tokens,
                chunk_tokens=2 * TINY.context,
            ),
        ),
        round=RoundConfig(steps=ROUND_STEPS, rounds=amount.rounds, barrier=True, patience_s=86_400.0),
        model=ModelConfig(name=str(model), threads=1),
        adapter=AdapterConfig(rank=4, alpha=32.0),
        training=TrainingConfig(batch_windows=BATCH, learning_rate=rate, warmup_steps=WARMUP),
        reference=ReferenceConfig(source=str(texts / "reference.txt")),
    )
