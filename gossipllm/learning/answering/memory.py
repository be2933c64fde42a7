"""What a learner keeps between requests: its state, and what it has measured.

Axes: W windows.
"""

from __future__ import annotations

from gossipllm.config import LearnerConfig
from gossipllm.learning.composition.composition import composition_of
from gossipllm.learning.distilling.distilling import Distilling
from gossipllm.learning.distilling.lessons import Teachers
from gossipllm.learning.jobs.jobs import Task
from gossipllm.learning.learner_state import LearnerState, saved
from gossipllm.learning.measuring.measuring import Measuring
from gossipllm.learning.measuring.own_text import OwnText
from gossipllm.learning.merging.distances.distances import Blob
from gossipllm.learning.merging.neighbours import Neighbours
from gossipllm.learning.merging.rounded import UpdateRounder
from gossipllm.learning.merging.updates import UpdateFormat
from gossipllm.learning.shared_model import SharedModel
from gossipllm.learning.training.retention import Retention
from gossipllm.learning.training.training import LocalTraining
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import State
from gossipllm.text.windows import Splits
from wire.digest import Content
from wire.floats import F32
from wire.predictions.byte_rows import ByteRows


class LearnerMemory:
    """What a learner keeps between requests.

    `now` is its state. `published` are the predictions of what it published last, `published_bytes` the same as byte
    rows, `trust_losses_W` and `start_losses_W` the losses of its adapter and of the one that local steps began from;
    each is None where it is not known.
    """

    def __init__(self, config: LearnerConfig, shared: SharedModel, splits: Splits) -> None:
        """Raises `UserMistake` where the configuration names modules that the base does not have."""
        self.config = config
        self.shared = shared
        blueprint = shared.blueprint(config.adapter)
        self.composition = composition_of(config, blueprint)
        self.updates = UpdateFormat(blueprint, config.mixing)
        self.fingerprints = shared.fingerprints(self.updates)
        self.measuring = Measuring(config, splits, shared.reference)
        self.own_text = OwnText(config, self.measuring)
        self.retention = Retention(config, self.measuring, shared.reference)
        self.training = LocalTraining(config, shared, self.composition, splits.train_WT)
        self.distilling = Distilling(
            config,
            self.composition,
            self.measuring,
            self.own_text,
            shared.reference,
            Teachers(config, self.measuring, shared.reference),
            train_windows=len(splits.train_WT),
        )
        self.neighbours = Neighbours(self.updates, config)
        self.rounder = UpdateRounder(config)
        self.now = self.composition.fresh()
        self.published: Blob | None = None
        self.published_bytes: ByteRows | None = None
        self.trust_losses_W: F32 | None = None
        self.start_losses_W: F32 | None = None

    @property
    def round(self) -> int:
        return self.now.round

    @property
    def state(self) -> State:
        """The adapter as it is now. Callers must not write to it."""
        return self.now.state

    @property
    def blueprint(self) -> Blueprint:
        return self.now.blueprint

    def snapshot(self) -> Content:
        """Everything that resuming needs. Equal states give equal bytes."""
        return saved(self.now, self.config, self.fingerprints)

    def become(self, after: LearnerState, trust_losses_W: F32 | None = None) -> None:
        """Replace the state. `trust_losses_W` are its losses, where they are known."""
        if after.blueprint is not self.blueprint:
            published = self.composition.published_form(after.blueprint)
            self.updates = UpdateFormat(published, self.config.mixing)
            self.neighbours = Neighbours(self.updates, self.config)
        self.now = after if trust_losses_W is None else self.own_text.noted(after, trust_losses_W)
        self.trust_losses_W = trust_losses_W
        self.neighbours.forget_merges()

    def forget_measured(self) -> None:
        """Forget what was measured of an earlier state, and of neighbours."""
        self.published = self.published_bytes = self.start_losses_W = None
        self.neighbours.forget()

    def own_predictions(self) -> Task[Blob]:
        """Those that were published. After a restart they are gone; those of the resumed adapter stand in for them."""
        if self.published is None:
            self.published, _ = yield from self.measuring.predicted(self.published_state())
        return self.published

    def own_byte_rows(self) -> Task[ByteRows]:
        """As `own_predictions`. They are made where they are first asked for."""
        if self.published_bytes is None:
            self.published_bytes, _ = yield from self.measuring.predicted_bytes(self.published_state())
        return self.published_bytes

    def published_state(self) -> State:
        """The adapter as neighbours receive it, whole enough to be measured by itself."""
        return self.composition.alone(self.composition.published(self.state))

    def own_trust_losses(self) -> Task[F32]:
        if self.trust_losses_W is None:
            self.trust_losses_W = yield from self.measuring.trust_losses(self.state)
            self.now = self.own_text.noted(self.now, self.trust_losses_W)
        return self.trust_losses_W
