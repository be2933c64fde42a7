"""What learners work on: the base with its fleet, the reference set, the form of updates; and what names them.

Of these a process has one, however many learners it runs. The text is each learner's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gossipllm.config import LearnerConfig
from gossipllm.learning.fleet import Fleet
from gossipllm.learning.updates import UpdateFormat
from gossipllm.model.adapters import Blueprint
from gossipllm.model.models import Base, base_fingerprint, load_base, tokenizer_fingerprint
from gossipllm.text.data import ReferenceSet, Splits, load_reference, load_splits
from wire.messages import Fingerprints

OnPhase = Callable[[str, int], None]
"""`(phase, step)`, a word for people and a number that rises from 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Materials:
    fleet: Fleet
    updates: UpdateFormat
    reference: ReferenceSet
    fingerprints: Fingerprints

    @property
    def base(self) -> Base:
        return self.fleet.base

    @property
    def blueprint(self) -> Blueprint:
        return self.fleet.blueprint


def load_materials(config: LearnerConfig, on_phase: OnPhase) -> Materials:
    """What `config` names, but for the text. Raises `UserMistake`."""
    on_phase("model", 1)
    base = load_base(config.model)
    # Named before the fleet goes on, which renames the base's own tensors.
    name = base_fingerprint(base.model)
    on_phase("reference", 2)
    reference = load_reference(
        config.reference, base.tokenizer, context=base.context, vocabulary=base.vocabulary
    )
    fleet = Fleet(base, config.adapter)
    updates = UpdateFormat(fleet.blueprint, config.mixing)
    fingerprints = Fingerprints(
        base=name,
        tokenizer=tokenizer_fingerprint(base.tokenizer),
        reference=reference.fingerprint,
        layout=updates.fingerprint,
    )
    return Materials(fleet, updates, reference, fingerprints)


def load_text(config: LearnerConfig, base: Base) -> Splits:
    """The learner's own text. Raises `UserMistake`."""
    return load_splits(config.data, base.tokenizer, context=base.context, seed=config.training.seed)
