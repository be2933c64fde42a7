"""Teachers: predictions of the reference set that a learner takes steps toward.

Axes: R rows of the learner's own tokens, one for each that bears loss; K outcomes that a teacher names.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trust.rows.evidence import Predictions


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """Predictions to learn from, and what they weigh.

    Of a teacher with the learner's tokenizer they are of tokens, row for row. Of one with another tokenizer they are
    byte rows, and `at_R` names the teacher's row for each of the learner's rows, -1 where it has none. `base` are the
    predictions of the teacher's base on the same rows: with these, what it learned is the target, not what it predicts.
    """

    weight: float
    rows: Predictions
    base: Predictions | None = None
    at_R: NDArray[np.int64] | None = None
