"""Measures an adapter on the whole base: losses on a learner's own splits, and predictions on the reference set.

Axes: W windows, of which J judge; I windows that indices name.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gossipllm.config import LearnerConfig
from gossipllm.learning.jobs.jobs import Task, byte_predictions_of, last_logits_of, losses_of, predictions_of
from gossipllm.learning.jobs.next_bytes import placed
from gossipllm.learning.learner_state import diverged
from gossipllm.learning.measuring.halves import Halves, halves
from gossipllm.learning.merging.averages import F64, mean_loss, standard_error, weights_of
from gossipllm.learning.merging.distances.distances import Blob
from gossipllm.model.adapter.names import State
from gossipllm.text.reference import ReferenceSet
from gossipllm.text.windows import Splits, Windows
from wire.floats import F32
from wire.predictions.byte_rows import ByteRows, decode_byte_rows, encode_byte_rows
from wire.predictions.logits import decode_logits, decode_rows, encode_logits, encode_rows


class Measuring:
    """Measurements on one learner's trust and test splits and on the reference set.

    A neighbour is measured on `DataConfig.weigh_windows` of the windows that propose, because every neighbour costs a
    pass. The first trust windows are of the learner's own text, those of public text follow.
    """

    def __init__(self, config: LearnerConfig, splits: Splits, reference: ReferenceSet) -> None:
        self.trust_WT = splits.trust_WT[: config.data.trust_windows]
        self._own_I = np.arange(len(self.trust_WT) - config.data.public_trust_windows)
        self.test_WT = splits.test_WT[: config.data.test_windows]
        self._config = config
        reduction = config.training.reduction
        self._trust_weights_W = weights_of(self.trust_WT, reduction)
        self._test_weights_W = weights_of(self.test_WT, reduction)
        self._reference = reference

    def predicted(self, state: State) -> Task[tuple[Blob, bytes]]:
        """An adapter's predictions as neighbours receive them, decoded and as bytes. Raises `UserMistake` where they
        are not finite."""
        windows_WT, shape = self._reference.windows_WT, self._reference.shape
        try:
            if shape.raw:
                evidence = encode_logits((yield from last_logits_of(state, windows_WT, shape)), shape)
            else:
                evidence = encode_rows((yield from predictions_of(state, windows_WT, shape)), shape)
        except ValueError as error:
            raise diverged(error) from None
        return self.decoded(evidence), evidence

    def decoded(self, evidence: bytes) -> Blob:
        """Raises `WireError`."""
        shape = self._reference.shape
        return decode_logits(evidence, shape) if shape.raw else decode_rows(evidence, shape)

    def predicted_bytes(self, state: State) -> Task[tuple[ByteRows, bytes]]:
        """An adapter's byte rows as neighbours with another tokenizer receive them, decoded and as bytes. Raises
        `UserMistake` where they are not finite."""
        in_bytes = self._reference.in_bytes
        assert in_bytes is not None, "byte rows are asked for where there are any"
        positions = in_bytes.positions
        made = yield from byte_predictions_of(
            state, self._reference.windows_WT, in_bytes.symbols_V, positions.shape.top
        )
        try:
            data = encode_byte_rows(placed(made, positions), positions.shape)
        except ValueError as error:
            raise diverged(error) from None
        return decode_byte_rows(data, positions.shape), data

    def decoded_bytes(self, data: bytes) -> ByteRows:
        """Raises `WireError`."""
        shape = self._reference.byte_shape
        assert shape is not None, "byte rows are fetched where the reference set has them"
        return decode_byte_rows(data, shape)

    def halves(self, round_: int) -> Halves:
        """Which trust windows propose a merge in this round, and which judge it."""
        config = self._config
        return halves(len(self.trust_WT), seed=config.training.seed, round_=round_, split=config.judging)

    def weighing(self, round_: int) -> NDArray[np.int64]:
        """Indices of the trust windows on which each neighbour is measured in this round."""
        return self.halves(round_).proposing_P[: self._config.data.weigh_windows]

    def weights_at(self, windows_I: NDArray[np.int64]) -> F64 | None:
        """How much each of these trust windows counts in a mean over them."""
        return weights_of(self.trust_WT[windows_I], self._config.training.reduction)

    def trust_losses(self, state: State) -> Task[F32]:
        """The loss of each trust window, `(W,)`."""
        (losses_W,) = yield from losses_of((state,), self.trust_WT, "trust")
        return losses_W

    def trust_loss(self, losses_W: F32) -> float:
        """The mean of trust losses, weighted as training weights windows."""
        return mean_loss(losses_W, self._trust_weights_W)

    def trust_error(self, differences_W: F32) -> float:
        """The standard error of the mean of differences between trust losses; 0 where there is one window only."""
        return standard_error(differences_W, self._trust_weights_W) if len(differences_W) > 1 else 0.0

    @property
    def own_trust_WT(self) -> Windows:
        """The trust windows of the learner's own text."""
        return self.trust_WT[self._own_I]

    def own_loss(self, losses_W: F32) -> float:
        """The mean of trust losses over those windows."""
        return self.loss_at(losses_W, self._own_I)

    def loss_at(self, losses_W: F32, windows_I: NDArray[np.int64]) -> float:
        """The mean of trust losses over these windows."""
        return mean_loss(losses_W[windows_I], self.weights_at(windows_I))

    def loss_of(self, losses_I: F32, windows_I: NDArray[np.int64]) -> float:
        """The mean of losses that were measured on these trust windows alone."""
        return mean_loss(losses_I, self.weights_at(windows_I))

    def error_at(self, differences_W: F32, windows_I: NDArray[np.int64]) -> float:
        """The standard error of the mean of differences of trust losses over these windows."""
        return standard_error(differences_W[windows_I], self.weights_at(windows_I))

    def test_losses(self, state: State) -> Task[F32]:
        """The loss of each test window, `(W,)`."""
        (losses_W,) = yield from losses_of((state,), self.test_WT, "test")
        return losses_W

    def test_loss(self, state: State) -> Task[float]:
        return mean_loss((yield from self.test_losses(state)), self._test_weights_W)
