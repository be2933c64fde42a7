"""The model that all learners of a process share: the base with sites for adapters, its fleets, the reference set.

A process has one of these for each base, however many learners it runs. Text, rank and adapted modules are each
learner's own; learners of equal rank and modules share a fleet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gossipllm.config import AdapterConfig, LearnerConfig
from gossipllm.config.choices import PACKED_BITS
from gossipllm.learning.merging.updates import UpdateFormat
from gossipllm.learning.passes.contexts import ContextModels
from gossipllm.learning.passes.engine import PassCounter
from gossipllm.learning.passes.fleet import Fleet
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.placement import Attached, attach
from gossipllm.model.contexts.held import check_held, packer
from gossipllm.model.contexts.packed_base import HeldPacked
from gossipllm.model.heap import LARGE_BYTES, SMALL_BYTES, release_tensors_at_once
from gossipllm.model.loading.models import (
    Base,
    base_fingerprint,
    load_base,
    open_base,
    tokenizer_fingerprint,
)
from gossipllm.model.loading.weights import unreadable_by_blocks
from gossipllm.text.growth import grown_splits
from gossipllm.text.reference import ReferenceSet, load_reference
from gossipllm.text.tokens import check_vocabulary, document_tokens
from gossipllm.text.windows import Splits, accounted, check_length, counted, reader_of
from wire.digest import Content
from wire.messages import Fingerprints

OnPhase = Callable[[str, int], None]
"""`(phase, step)`: a word that users see, and a number that rises from 1."""


@dataclass(frozen=True, slots=True, eq=False)
class SharedModel:
    """`base_name` and `tokenizer_name` are fingerprints; `meter` counts the passes of all fleets."""

    base: Base
    base_name: bytes
    tokenizer_name: bytes
    reference: ReferenceSet
    attached: Attached
    contexts: ContextModels
    meter: PassCounter = field(default_factory=PassCounter)
    _fleets: dict[tuple[int, float, tuple[str, ...]], Fleet] = field(
        default_factory=dict[tuple[int, float, tuple[str, ...]], Fleet]
    )

    def blueprint(self, adapter: AdapterConfig) -> Blueprint:
        """Raises `UserMistake`."""
        return self.attached.blueprint(adapter)

    def fleet(self, adapter: AdapterConfig) -> Fleet:
        """The fleet for adapters of this rank, scale and modules, made when it is first asked for."""
        choice = (adapter.rank, adapter.alpha, adapter.named_modules)
        if choice not in self._fleets:
            self._fleets[choice] = Fleet(self.base, adapter, attached=self.attached, meter=self.meter)
        return self._fleets[choice]

    def fingerprints(self, updates: UpdateFormat) -> Fingerprints:
        """What neighbours must have in common with a learner whose updates have this form."""
        return Fingerprints(
            base=self.base_name,
            tokenizer=self.tokenizer_name,
            reference=self.reference.fingerprint,
            layout=updates.fingerprint,
        )


def load_shared_model(config: LearnerConfig, on_phase: OnPhase, *, alone: bool = False) -> SharedModel:
    """Load the model and the reference set that `config` names. Raises `UserMistake`.

    `alone` says that a single learner uses the model. Then the base itself can be held in 8 or 4 bits where
    `layers.context` says so, instead of beside a packed copy.
    """
    on_phase("model", 1)
    check_held(config.model)
    if alone:
        release_tensors_at_once(SMALL_BYTES if config.layers.memory_mb else LARGE_BYTES)
    windows = PACKED_BITS.get(config.layers.context) if alone else None
    packs = config.model.held != "whole" or windows is not None
    base, weights = open_base(config.model) if packs else (load_base(config.model), None)
    # The fingerprint comes first: sites rename the base's tensors, and packing rounds its weights.
    name = base_fingerprint(base.model, weights)
    on_phase("reference", 2)
    reference = load_reference(
        config.reference, base.tokenizer, context_length=base.context_length, vocabulary=base.vocabulary
    )
    # Sites come before packing, because a site reads the shape of the layer that it surrounds.
    attached = attach(base.model, config.adapter)
    packed = None
    if weights is not None:
        if not attached.coverage.tried:
            raise unreadable_by_blocks("its blocks depend on each other")
        held = HeldPacked(base.model, weights, packer(windows or config.model.held))
        # A base that is held so altogether is never opened: adapters are trained on the packed layers.
        packed = held if windows else None
    return SharedModel(
        base,
        name,
        tokenizer_fingerprint(base.tokenizer),
        reference,
        attached,
        ContextModels(base, name, reference, packed=packed),
    )


def load_text(config: LearnerConfig, base: Base) -> Splits:
    """Read and cut a learner's own text, all of it dealt at once. Raises `UserMistake`."""
    return load_grown_text(config, base, None)[0]


def load_grown_text(config: LearnerConfig, base: Base, ledger: Content | None) -> tuple[Splits, Content]:
    """Read and cut a learner's own text, dealt as `ledger` says and with what is new; and the ledger of all of it.
    Raises `UserMistake`."""
    check_length(config.data, base.context_length)
    reader = reader_of(config.data, base.tokenizer)
    documents = list(document_tokens(list(reader.documents()), base.tokenizer))
    check_vocabulary(documents, base.vocabulary, "data.path")
    splits, after = grown_splits(documents, ledger, config.data, seed=config.training.seed)
    _, account = accounted(documents, reader.account, config.data.window_tokens)
    return counted(splits, account), after
