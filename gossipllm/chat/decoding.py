"""Text out of tokens as they come, fit for a terminal.

A character may be spread over several tokens, so the end of the text waits until it is whole. And a model may write
anything, also what moves a cursor, turns the direction of writing or renames a window: such characters are shown as
escapes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import Final

_LONGEST_CHARACTER: Final = 4
"""Bytes of a character in UTF-8, and so the most tokens that one can be spread over."""

_BROKEN: Final = "\ufffd"

_KEPT: Final = frozenset("\n\t\u200c\u200d")
"""New lines and tabs; and the joiners that Persian, Hindi and many emoji are written with."""

_REFUSED: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of Unicode: control, format, surrogate, separators of lines and of paragraphs."""


class Decoding:
    """The text of tokens that are given one by one. `decode` turns tokens into text."""

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._tokens: list[int] = []
        self._context = 0
        self._told = 0

    def more(self, token: int) -> str:
        """What the token adds that is whole by now; often nothing."""
        self._tokens.append(token)
        return self._next(last=False)

    def end(self) -> str:
        """What is left, whole or not."""
        return self._next(last=True)

    def _next(self, *, last: bool) -> str:
        # Decoded behind the tokens told last: what a token reads as depends on the one before it.
        before = self._decode(self._tokens[self._context : self._told])
        text = self._decode(self._tokens[self._context :])
        waiting = len(self._tokens) - self._told
        whole = last or not text.endswith(_BROKEN) or waiting > _LONGEST_CHARACTER
        if not whole or len(text) <= len(before):
            return ""
        self._context, self._told = self._told, len(self._tokens)
        return text[len(before) :]


def printable(text: str) -> str:
    """`text` with escapes for the characters that would do something to a terminal rather than be shown."""
    if text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character in _KEPT or unicodedata.category(character) not in _REFUSED:
        return character
    return character.encode("unicode_escape").decode("ascii")
