from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trust.names import escaped, short_names


@given(st.text(st.characters(), max_size=300), st.integers(5, 250))
def test_escaped_text_prints_fits_and_stays(text: str, limit: int) -> None:
    once = escaped(text, limit)
    assert once.isprintable()
    assert len(once) <= limit
    assert escaped(once, limit) == once


def test_what_steers_a_terminal_is_shown_instead_of_obeyed() -> None:
    assert escaped("\x1b[31mred\n\u202e") == "\\x1b[31mred\\n\\u202e"
    assert escaped("Müller 東京") == "Müller 東京"


def test_text_that_is_too_long_says_so() -> None:
    assert escaped("a" * 300) == "a" * 199 + "…"


@given(
    st.dictionaries(st.text("ab…~#12", min_size=1, max_size=60), st.text("a…#12", max_size=20), max_size=30),
    st.integers(4, 16),
)
def test_short_names_are_short_distinct_and_in_order(names: dict[str, str], width: int) -> None:
    short = short_names(list(names.items()), width)
    assert len(set(short)) == len(short) == len(names)
    assert all(len(name) <= width for name in short)


def test_namesakes_are_told_apart_by_the_end_of_their_ids() -> None:
    peers = [("12D3KooWaaaa", "lab"), ("12D3KooWaabb", "lab"), ("12D3KooWcc", "home"), ("12D3KooWdd", "")]
    assert short_names(peers, 8) == ("lab~aa", "lab~bb", "home", "…3KooWdd")
