"""Documents as tokens.

Every document begins as the tokenizer begins a text, with its beginning-of-text token where it adds one, and ends with
the end-of-text token. Names of special tokens within a text are ordinary characters; only a chat template writes
special tokens. A conversation begins as its template begins it.

A token that bears no loss is stored as `~token`, as in `gossipllm.text.windows`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gossipllm.text.dealing.categories import Tokens
from gossipllm.text.reading.corpus import Document
from gossipllm.text.reading.marks import Span
from trust.errors import UserMistake

_AT_ONCE: Final = 128
"""Documents that a tokenizer is given at a time, which it divides among processors. Of each token it keeps some hundred
bytes until they are read."""


def beginning(tokenizer: Any) -> list[int]:
    """The tokens that the tokenizer puts before a text, none for most."""
    plain = [int(one) for one in tokenizer("a", add_special_tokens=False)["input_ids"]]
    whole = [int(one) for one in tokenizer("a")["input_ids"]]
    for start in range(len(whole) - len(plain) + 1):
        if whole[start : start + len(plain)] == plain:
            return whole[:start]
    return []


def ending(tokenizer: Any) -> list[int]:
    """The tokens behind each document: the end-of-text token, where the tokenizer has one."""
    return [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]


def tokenised(documents: Sequence[str | Document], tokenizer: Any) -> list[Tokens]:
    """The ids of each document with its beginning and end, without regard to what bears loss."""
    made = [Document(one) if isinstance(one, str) else one for one in documents]
    return [np.where(tokens < 0, ~tokens, tokens) for tokens in document_tokens(made, tokenizer)]


def document_tokens(documents: Sequence[Document], tokenizer: Any) -> Iterator[Tokens]:
    """The tokens of each document. The beginning-of-text token bears no loss: it is known beforehand."""
    before, behind = np.array(beginning(tokenizer), np.int32), np.array(ending(tokenizer), np.int32)
    for first in range(0, len(documents), _AT_ONCE):
        batch = documents[first : first + _AT_ONCE]
        plain = iter(
            plain_ids([one.text for one in batch if one.answers is None and not one.templated], tokenizer)
        )
        for one in batch:
            if one.answers is None and not one.templated:
                tokens = np.concatenate([np.array(next(plain), np.int32), behind])
            else:
                tokens = _marked(one, tokenizer, behind)
            yield tokens if one.templated else np.concatenate([~before, tokens])


def check_vocabulary(tokens: Iterable[NDArray[np.int32]], vocabulary: int, key: str) -> None:
    """Raises `UserMistake` where a token lies outside the model's vocabulary, as where tokens were added to a tokenizer
    and the embeddings were not resized. `key` is the setting that named the text."""
    largest = max((int(np.where(some < 0, ~some, some).max()) for some in tokens if some.size), default=0)
    if largest >= vocabulary:
        raise UserMistake(
            f"{key}: the tokenizer makes token {largest} of this text, and the model has {vocabulary}: "
            "take the tokenizer that belongs to the model, or resize the model's embeddings"
        )


def plain_ids(texts: Sequence[str], tokenizer: Any) -> list[list[int]]:
    """The ids of each text alone, without special tokens before, behind or within it."""
    if not texts:
        return []
    # `verbose=False` keeps transformers from warning that a text is longer than the model can read: it is cut into
    # windows afterwards.
    return tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True, verbose=False)[
        "input_ids"
    ]


def _marked(document: Document, tokenizer: Any, behind: Tokens) -> Tokens:
    """The tokens of a document with its end, of which only those in answers bear loss."""
    pieces = [
        _piece(document, start, end, tokenizer, literal=literal)
        for start, end, literal in _stretches(document, by_answers=not tokenizer.is_fast)
    ]
    ids, bears = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    if document.templated and len(behind) and len(ids) and ids[-1] == behind[-1]:
        # The template has ended the conversation.
        behind = behind[:0]
    ended = document.answers is None or any(end == len(document.text) for _, end in document.answers)
    return np.concatenate([np.where(bears, ids, ~ids), behind if ended else ~behind]).astype(np.int32)


def _stretches(document: Document, *, by_answers: bool) -> Iterator[tuple[int, int, bool]]:
    """Parts of the text to tokenise one by one, and whether special tokens are plain text there.

    A tokenizer that does not say where its tokens lie is given answers by themselves.
    """
    whole = 0, len(document.text)
    borders = {*whole, *(place for span in document.literal for place in span)}
    if by_answers:
        borders |= {place for span in document.answers or () for place in span}
    places = sorted(borders)
    literal = {start for start, _ in document.literal}
    for start, end in pairwise(places):
        yield start, end, not document.templated or start in literal


def _piece(
    document: Document, start: int, end: int, tokenizer: Any, *, literal: bool
) -> tuple[Tokens, NDArray[np.bool_]]:
    """The ids of a part of the text, and which of them bear loss: those whose last character is in an answer."""
    found = tokenizer(
        document.text[start:end],
        add_special_tokens=False,
        split_special_tokens=literal,
        verbose=False,
        **({"return_offsets_mapping": True} if tokenizer.is_fast else {}),
    )
    ids = np.array(found["input_ids"], np.int32)
    answers: Sequence[Span] = ((0, len(document.text)),) if document.answers is None else document.answers
    if tokenizer.is_fast:
        ends_T = start + np.array(found["offset_mapping"], np.int64).reshape(-1, 2)[:, 1]
    else:
        ends_T = np.full(len(ids), end, np.int64)
    bears_T = np.zeros(len(ids), np.bool_)
    for since, until in answers:
        bears_T |= (ends_T > since) & (ends_T <= until)
    return ids, bears_T
