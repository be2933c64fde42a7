"""The bytes of each token of a vocabulary.

A vocabulary writes bytes in one of two ways: byte-level BPE (GPT-2, Llama 3, Qwen) as one printable character for each
byte; sentencepiece as text, with `▁` for a space and `<0xNN>` for a byte that is no whole character. Which one it is
stands in the tokenizer's decoder. Special tokens have no bytes. Of tokens that depend on their neighbours, such as
WordPiece's `##`, no bytes are known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trust.errors import UserMistake
from wire.predictions.byte_rows import SYMBOLS

NO_SYMBOL: Final = SYMBOLS
"""Stands for the symbol of a token without bytes."""
_META: Final = "▁"
_FALLBACK = re.compile(r"<0x([0-9A-F]{2})>")
_SPACE: Final = 32


def token_bytes(tokenizer: Any, only: Collection[int] | None = None) -> list[bytes | None]:
    """The bytes of each token by its id, None where it has none or there is no such token; of the tokens in `only`
    alone, where that is given. Raises `UserMistake` for a tokenizer whose tokens are no stretches of bytes."""
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    decoder: Any = None if backend is None else json.loads(backend.to_str()).get("decoder")
    kinds: list[str] = list(_decoders(decoder))
    read: Callable[[str], bytes | None]
    if "ByteLevel" in kinds:
        read = _of_letters
    elif _META in kinds:
        read = _of_pieces
    else:
        raise UserMistake(
            f"the tokenizer {type(tokenizer).__name__} has tokens that are no stretches of bytes (it is neither a "
            "byte-level BPE nor of sentencepiece)"
        )
    added: dict[int, Any] = tokenizer.added_tokens_decoder
    tokens: dict[int, str]
    if only is None:
        whole: dict[str, int] = tokenizer.get_vocab()
        tokens = {index: token for token, index in whole.items()}
    else:
        tokens = dict(zip(only, tokenizer.convert_ids_to_tokens([*only]), strict=True))
    found: list[bytes | None] = [None] * (1 + max(tokens))
    for index, token in tokens.items():
        found[index] = read(token)
    for index in added.keys() & tokens.keys():
        found[index] = None if added[index].special else str(added[index].content).encode()
    return found


def first_symbols(tokens: Sequence[bytes | None]) -> NDArray[np.int64]:
    """The symbol (`wire.predictions.byte_rows`) with which each token begins, `(V,)`; `NO_SYMBOL` for no bytes."""
    return np.array([_symbol(token) for token in tokens], np.int64)


def _symbol(token: bytes | None) -> int:
    if not token:
        return NO_SYMBOL
    return 256 + token[1] if token[0] == _SPACE and len(token) > 1 else token[0]


def _decoders(decoder: Any) -> Iterator[str]:
    """The kinds of a decoder's parts; `▁` for those that make a space of it."""
    if not isinstance(decoder, dict):
        return
    part: dict[str, Any] = decoder  # pyright: ignore[reportUnknownVariableType]
    match part.get("type"):
        case "Sequence":
            for one in part["decoders"]:
                yield from _decoders(one)
        case "Metaspace":
            yield str(part["replacement"])
        case "Replace" if part["content"] == " ":
            yield str(part["pattern"].get("String"))
        case kind:
            yield str(kind)


def _letters() -> dict[str, int]:
    """GPT-2's alphabet: printable Latin-1 characters stand for themselves, other bytes for the characters from 256."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + index): byte for index, byte in enumerate(others)}


_LETTERS: Final = _letters()


def _of_letters(token: str) -> bytes | None:
    if any(letter not in _LETTERS for letter in token):
        return None
    return bytes(_LETTERS[letter] for letter in token)


def _of_pieces(token: str) -> bytes:
    fallback = _FALLBACK.fullmatch(token)
    return bytes.fromhex(fallback[1]) if fallback else token.replace(_META, " ").encode()
