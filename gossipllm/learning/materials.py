"""What a learner works on: model, adapter, windows and reference set, with the names others know them by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gossipllm.config import LearnerConfig
from gossipllm.model.adapters import Adapter, attach
from gossipllm.model.models import Base, base_fingerprint, load_base, tokenizer_fingerprint
from gossipllm.text.data import ReferenceSet, Splits, load_reference, load_splits
from wire.messages import Fingerprints

OnPhase = Callable[[str, int], None]
"""`(phase, step)`, a word for people and a number that rises from 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Materials:
    base: Base
    adapter: Adapter
    splits: Splits
    reference: ReferenceSet
    fingerprints: Fingerprints


def load_materials(config: LearnerConfig, on_phase: OnPhase) -> Materials:
    """Everything that `config` names, the adapter fresh. Raises `UserMistake`."""
    on_phase("model", 1)
    base = load_base(config.model)
    # Named before the adapter goes on, which renames the base's own tensors.
    name, vocabulary = base_fingerprint(base.model), base.vocabulary
    adapter = attach(base.model, config.adapter)
    on_phase("text", 2)
    splits = load_splits(config.data, base.tokenizer, context=base.context, seed=config.training.seed)
    on_phase("reference", 3)
    reference = load_reference(config.reference, base.tokenizer, context=base.context, vocabulary=vocabulary)
    fingerprints = Fingerprints(
        base=name,
        tokenizer=tokenizer_fingerprint(base.tokenizer),
        reference=reference.fingerprint,
        layout=adapter.fingerprint,
    )
    return Materials(base, adapter, splits, reference, fingerprints)
