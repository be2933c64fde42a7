"""Text comes out whole, whatever the tokens, and does nothing to a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipllm.chat.decoding import Decoding, printable


def decode(tokens: Sequence[int]) -> str:
    """A tokenizer of bytes."""
    return bytes(tokens).decode("utf-8", errors="replace")


def pieces(data: bytes) -> list[str]:
    decoding = Decoding(decode)
    return [*map(decoding.more, data), decoding.end()]


@given(st.text())
def test_the_pieces_are_the_text_and_no_character_is_broken(text: str) -> None:
    found = pieces(text.encode())

    assert "".join(found) == text
    assert all("\ufffd" not in piece for piece in found) or "\ufffd" in text


@given(st.binary())
def test_bytes_that_are_no_text_do_not_hold_it_up(data: bytes) -> None:
    text = "".join(pieces(data + b"end"))

    assert text.endswith("end")


def test_a_character_waits_for_its_last_byte() -> None:
    assert pieces("é🙂".encode()) == ["", "é", "", "", "", "🙂", ""]


def test_what_a_token_reads_as_may_depend_on_the_one_before() -> None:
    """As in tokenizers that drop the blank before the first word."""

    def words(tokens: Sequence[int]) -> str:
        return " ".join(str(token) for token in tokens)

    decoding = Decoding(words)

    assert [decoding.more(1), decoding.more(2), decoding.more(3)] == ["1", " 2", " 3"]


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
def test_only_what_would_do_something_to_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
