"""Authors that an announcement names as held."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.wire_frames import as_plain, framed, make_announcement, unpacked
from wire.codec import decode_announcement, encode_announcement
from wire.errors import WireError
from wire.holders import MAX_HOLDS, PREFIX_BYTES, decode_holds, encode_holds, prefix_of

KEYS = st.sets(st.binary(min_size=32, max_size=32), max_size=MAX_HOLDS)


@given(KEYS)
def test_what_is_named_is_read_whatever_its_order(keys: set[bytes]) -> None:
    data = encode_holds(keys)
    assert set(decode_holds(data)) == {prefix_of(key) for key in keys}
    assert encode_holds(sorted(keys, reverse=True)) == data


@given(st.binary(max_size=3 * MAX_HOLDS))
def test_any_bytes_name_authors_in_their_one_form_or_are_refused(data: bytes) -> None:
    try:
        names = decode_holds(data)
    except WireError:
        return
    assert encode_holds(names) == data


@pytest.mark.parametrize("data", [b"ab", b"abcde", b"bbbaaa", b"aaaaaa"])
def test_names_are_whole_and_rise(data: bytes) -> None:
    with pytest.raises(WireError, match="holds"):
        decode_holds(data)


def test_more_authors_than_an_announcement_has_room_for_are_refused() -> None:
    keys = [number.to_bytes(PREFIX_BYTES, "big") for number in range(MAX_HOLDS + 1)]
    assert len(encode_holds(keys[1:])) == PREFIX_BYTES * MAX_HOLDS
    with pytest.raises(ValueError, match="at most 32 authors, got 33"):
        encode_holds(keys)


def test_an_announcement_that_names_nobody_has_no_key_for_it() -> None:
    frame = encode_announcement(make_announcement(holds=msgspec.UNSET), lambda _: bytes(64))
    assert "holds" not in unpacked(decode_announcement(frame).header)
    nothings: tuple[object, ...] = (b"", None, b"bbbaaa", b"aaaaa", bytes(3 * MAX_HOLDS + 3))
    for none in nothings:
        with pytest.raises(WireError, match=r"announcement\.holds"):
            decode_announcement(framed({**as_plain(make_announcement()), "holds": none}))
