"""Tests of decoding: text is complete whatever its tokens, and cannot control a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipllm.chat.decoding import StreamDecoder, printable


def decode(tokens: Sequence[int]) -> str:
    """The text of tokens that are bytes."""
    return bytes(tokens).decode("utf-8", errors="replace")


def pieces(data: bytes) -> list[str]:
    decoder = StreamDecoder(decode)
    return [*map(decoder.push, data), decoder.finish()]


@given(st.text())
def test_the_pieces_are_the_text_and_no_character_is_broken(text: str) -> None:
    found = pieces(text.encode())

    assert "".join(found) == text
    assert all("\ufffd" not in piece for piece in found) or "\ufffd" in text


@given(st.binary())
def test_bytes_that_are_no_text_do_not_block_the_text_after_them(data: bytes) -> None:
    text = "".join(pieces(data + b"end"))

    assert text.endswith("end")


def test_a_character_waits_for_its_last_byte() -> None:
    assert pieces("é🙂".encode()) == ["", "é", "", "", "", "🙂", ""]


def test_the_text_of_a_token_may_depend_on_the_token_before() -> None:
    """Some tokenizers drop the blank before the first word."""

    def words(tokens: Sequence[int]) -> str:
        return " ".join(str(token) for token in tokens)

    decoder = StreamDecoder(words)

    assert [decoder.push(1), decoder.push(2), decoder.push(3)] == ["1", " 2", " 3"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\rb\x9bc", "a\\rb\\x9bc"),
        ("\u202eright to left", "\\u202eright to left"),
        ("line\n\ttab", "line\n\ttab"),
        ("dix\u00a0euros\u202f!", "dix\u00a0euros\u202f!"),
        ("👨\u200d👩", "👨\u200d👩"),
    ],
)
def test_only_characters_that_would_control_a_terminal_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
