"""What local steps are to keep of an earlier adapter, as a job carries it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gossipllm.learning.jobs.teachers import Teacher
from gossipllm.model.adapter.names import State
from gossipllm.text.windows import Windows


@dataclass(frozen=True, slots=True, eq=False)
class KeptPredictions:
    """`earlier` predictions of the windows, of which each step reads a row of `batches_SB`; the divergence from them
    counts `strength` times the loss."""

    earlier: Teacher
    windows_WT: Windows
    batches_SB: NDArray[np.int64]
    strength: float


@dataclass(frozen=True, slots=True, eq=False)
class KeptSpan:
    """An `earlier` adapter, and the share of a step that is lost in the span of its A."""

    earlier: State
    strength: float


Kept: TypeAlias = KeptPredictions | KeptSpan
