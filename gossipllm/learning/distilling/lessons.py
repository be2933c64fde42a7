"""Who teaches a learner after a merge: from what neighbours sent, or a control, to teachers.

**Neighbours.** Only members of the row that was decided, whose updates helped by themselves, and only where their
predictions were held against their updates. An update that is a part of its author's adapter cannot be
(`binding.is_whole`), and its predictions teach nothing. Predictions of a peer with another base cannot be held against
its update, which fits no model here; they have a bounded weight (`peers.core.round.decision.deciding`).

**Own share.** The targets are those of neighbours alone, by their weights in the row. This peer's own predictions would
only hold it where it is, which the choice of the part does as well and by measurement.

**Controls.** What a learner gains without neighbours from the same steps: toward its own predictions of before the
merge, or toward the reference text itself, whose next tokens are certain.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gossipllm.config import LearnerConfig
from gossipllm.learning.jobs.teachers import Teacher
from gossipllm.learning.measuring.binding import is_whole
from gossipllm.learning.measuring.measuring import Measuring
from gossipllm.learning.merging.distances.distances import Blob
from gossipllm.learning.merging.neighbours import Neighbours
from gossipllm.model.adapter.anatomy import Anatomy
from gossipllm.text.reference import ReferenceSet
from gossipllm.text.windows import bearing
from gossipllm.work import Lesson
from wire.errors import WireError
from wire.predictions.logits import SparseRows


class Teachers:
    """Makes teachers of one learner's lessons."""

    def __init__(
        self,
        config: LearnerConfig,
        measuring: Measuring,
        reference: ReferenceSet,
    ) -> None:
        self._changes = config.distil_toward == "changes"
        self._measuring = measuring
        self._reference = reference

    def of(self, lessons: Sequence[Lesson], neighbours: Neighbours, anatomy: Anatomy) -> tuple[Teacher, ...]:
        """Those of neighbours. What cannot be read teaches nothing."""
        found: list[Teacher] = []
        for lesson in lessons:
            if not lesson.weight > 0:
                continue
            try:
                # Of another base nothing can be computed again: the trust loss alone says what it is worth.
                if lesson.update is not None and not is_whole(
                    anatomy, neighbours.decoded(lesson.update).units
                ):
                    continue
                teacher = self._in_bytes(lesson) if lesson.in_bytes else self._in_tokens(lesson)
            except WireError:
                continue
            if teacher is not None:
                found.append(teacher)
        return tuple(found)

    def with_text(self, teachers: Sequence[Teacher]) -> tuple[Teacher, ...]:
        """These teachers, and the reference text as one that weighs as much as all of them."""
        weight = sum(one.weight for one in teachers) or 1.0
        return (*teachers, self._text(weight, outcomes=self._reference.shape.top))

    def of_text(self) -> tuple[Teacher, ...]:
        """The reference text itself as a teacher."""
        return (self._text(1.0, outcomes=1),)

    def _text(self, weight: float, *, outcomes: int) -> Teacher:
        """A teacher that is certain of each next token, and names so many outcomes."""
        windows_WT, vocabulary = self._reference.windows_WT, self._reference.shape.vocabulary
        true_R = windows_WT[:, 1:][bearing(windows_WT)].astype(np.int64)
        ids_RK = (true_R[:, None] + np.arange(outcomes)) % vocabulary
        logp_RK = np.full(ids_RK.shape, -np.inf, np.float32)
        logp_RK[:, 0] = 0.0
        return Teacher(
            weight, SparseRows(ids_RK.astype(np.uint32), logp_RK, np.zeros(len(ids_RK), np.float32))
        )

    def symbols(self, teachers: Sequence[Teacher]) -> NDArray[np.int64] | None:
        """The symbol of each token, where some teachers speak of bytes."""
        in_bytes = self._reference.in_bytes
        needed = in_bytes is not None and any(one.at_R is not None for one in teachers)
        return in_bytes.symbols_V if in_bytes is not None and needed else None

    def _in_tokens(self, lesson: Lesson) -> Teacher | None:
        rows = _sparse(self._measuring.decoded(lesson.evidence.data))
        if rows is None:
            return None
        known = self._changes and lesson.base is not None
        base = self._measuring.decoded(lesson.base.data) if known and lesson.base is not None else None
        return Teacher(lesson.weight, rows, _sparse(base))

    def _in_bytes(self, lesson: Lesson) -> Teacher | None:
        ours = self._reference.in_bytes
        if ours is None:
            return None
        rows = self._measuring.decoded_bytes(lesson.evidence.data)
        base = None
        if self._changes and lesson.base is not None:
            base = self._measuring.decoded_bytes(lesson.base.data)
            if not np.array_equal(base.at_R, rows.at_R):
                raise WireError("evidence.base", "its rows are at other offsets than those of its adapter")
        return Teacher(lesson.weight, rows, base, ours.rows_at(rows.at_R))


def of_own(predictions: Blob) -> tuple[Teacher, ...]:
    """This learner's own predictions as a teacher; none where they are raw logits."""
    rows = _sparse(predictions)
    return () if rows is None else (Teacher(1.0, rows),)


def _sparse(blob: Blob | None) -> SparseRows | None:
    return blob if isinstance(blob, SparseRows) else None
