"""The reference windows in bytes, as one tokenizer cuts them: where its byte rows lie and what their symbols are.

Axes: V tokens of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gossipllm.text.in_bytes.positions import BytePositions, byte_positions
from gossipllm.text.vocabulary import first_symbols, token_bytes
from gossipllm.text.windows import Windows


@dataclass(frozen=True, eq=False)
class ByteReference:
    positions: BytePositions
    tokenizer: Any

    @cached_property
    def symbols_V(self) -> NDArray[np.int64]:
        """The symbol with which each token begins. Read when byte rows are first made: of 150,000 tokens it takes half
        a second, and in a network of one tokenizer there are no byte rows."""
        return first_symbols(token_bytes(self.tokenizer))

    def rows_at(self, at_R: NDArray[np.int64]) -> NDArray[np.int64]:
        """For each row of this tokenizer the index of the row that another one has at the same offset, -1 where it has
        none. `at_R` are the other's offsets, which rise."""
        place_R = np.minimum(np.searchsorted(at_R, self.positions.at_R), len(at_R) - 1)
        return np.where(at_R[place_R] == self.positions.at_R, place_R, -1)


def byte_reference(windows: Sequence[bytes], windows_WT: Windows, tokenizer: Any) -> ByteReference:
    """Of `windows`, of which the tokenizer makes the tokens `windows_WT`. Raises `UserMistake` for a tokenizer whose
    tokens are no stretches of the windows' bytes."""
    made: list[int] = np.unique(windows_WT[windows_WT >= 0]).tolist()
    return ByteReference(byte_positions(windows, windows_WT, token_bytes(tokenizer, made)), tokenizer)
