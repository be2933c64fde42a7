"""Where two tokenizers end a token at the same place of a text, so that two models have read the same.

With one tokenizer that is every token. Places are counted in characters. A tokenizer that cuts within a character gives
several tokens its place; of these only the last one ends it.

Axes: N matched positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trust.errors import UserMistake


def ends_of(spans: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Character behind a token -> index of the token, of the tokens at which a character ends.

    `spans` are the first character of each token and the one behind its last, in order; special tokens have empty ones.
    """
    read = [(index, start, stop) for index, (start, stop) in enumerate(spans) if stop > start]
    nexts = [start for _, start, _ in read[1:]] + [read[-1][2]] if read else []
    return {stop: index for (index, _, stop), after in zip(read, nexts, strict=True) if after >= stop}


def shared_positions(
    small: Sequence[tuple[int, int]], large: Sequence[tuple[int, int]]
) -> tuple[list[int], list[int]]:
    """The indices of tokens of the small and of the large model, both (N,), that end at the same characters."""
    one, other = ends_of(small), ends_of(large)
    both = sorted(one.keys() & other.keys())
    return [one[end] for end in both], [other[end] for end in both]


def spans_of(tokenizer: Any, text: str, key: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Ids and spans of the tokens of a text, without special tokens. Raises `UserMistake` for a tokenizer that cannot
    say where its tokens stand; `key` names its model."""
    if not tokenizer.is_fast:
        raise UserMistake(
            f"{key}: its tokenizer does not say where a token stands in the text (no tokenizer.json)"
        )
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return list(encoded["input_ids"]), [tuple(span) for span in encoded["offset_mapping"]]
