"""Decoding of tokens one at a time, and escaping of text that is shown in a terminal.

A character may be spread over several tokens, so text is held back until its last character is complete. A model may
write control characters that move the cursor, change the direction of writing or rename the terminal: these are shown
as escapes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import Final

_LONGEST_CHARACTER: Final = 4
"""Bytes of the longest character in UTF-8, and so the most tokens that a character can be spread over."""

_BROKEN: Final = "\ufffd"
"""The character that decoders put in place of incomplete UTF-8."""

_KEPT: Final = frozenset("\n\t\u200c\u200d")
"""Characters of refused categories that are not escaped: new lines, tabs, and the joiners in Persian, Hindi and many
emoji."""

_REFUSED: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories that are escaped: control, format, surrogate, line separator, paragraph separator."""


class StreamDecoder:
    """Decoder of tokens that arrive one at a time. `decode` turns a sequence of tokens into text."""

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._tokens: list[int] = []
        self._previous = 0
        """Index of the first of the tokens whose text was returned last."""
        self._returned = 0
        """Number of tokens whose text was returned."""

    def push(self, token: int) -> str:
        """The text that becomes complete with this token; often empty."""
        self._tokens.append(token)
        return self._next(last=False)

    def finish(self) -> str:
        """The rest of the text, even if its last character is incomplete."""
        return self._next(last=True)

    def _next(self, *, last: bool) -> str:
        # Decoded together with the tokens returned last, because a token's text depends on the token before it (a
        # leading blank, for example). Decoding all tokens each time would take quadratic time.
        before = self._decode(self._tokens[self._previous : self._returned])
        text = self._decode(self._tokens[self._previous :])
        waiting = len(self._tokens) - self._returned
        # After more tokens than a character can take, the bytes are no text: they are passed on as they are.
        whole = last or not text.endswith(_BROKEN) or waiting > _LONGEST_CHARACTER
        if not whole or len(text) <= len(before):
            return ""
        self._previous, self._returned = self._returned, len(self._tokens)
        return text[len(before) :]


def printable(text: str) -> str:
    """`text` with escapes in place of characters that a terminal would act on instead of showing."""
    if text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character in _KEPT or unicodedata.category(character) not in _REFUSED:
        return character
    return character.encode("unicode_escape").decode("ascii")
