"""Names of content, and fingerprints."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from wire.digest import DIGEST_BYTES, NO_DIGEST, Content, digest_of, fingerprint_of, short

PARTS = st.lists(st.binary(max_size=20), max_size=5)


def test_a_digest_is_sha_256() -> None:
    # FIPS 180-4, the example "abc".
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest_of(b"abc").hex() == digest_of(b"a", bytearray(b"b"), memoryview(b"c")).hex() == expected
    assert len(NO_DIGEST) == DIGEST_BYTES == 32


def test_a_fingerprint_is_the_digest_of_lengths_and_parts() -> None:
    spelt = b"\x05\0\0\0\0\0\0\0label" + b"\x02\0\0\0\0\0\0\0ab" + bytes(8)
    assert fingerprint_of("label", [b"ab", b""]) == hashlib.sha256(spelt).digest()


@given(st.text(max_size=5), PARTS, st.text(max_size=5), PARTS)
def test_fingerprints_are_equal_only_for_equal_parts(
    label: str, parts: list[bytes], other_label: str, other: list[bytes]
) -> None:
    same = (label, parts) == (other_label, other)
    assert (fingerprint_of(label, parts) == fingerprint_of(other_label, other)) == same


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5))
def test_lists_of_parts_with_one_concatenation_have_different_fingerprints(parts: list[bytes]) -> None:
    whole = fingerprint_of("x", parts)
    assert whole != fingerprint_of("x", [*parts, b""])
    assert len(parts) == 1 or whole != fingerprint_of("x", [b"".join(parts)])


def test_contents_are_equal_by_digest() -> None:
    one, same, other = Content.of(b"abc"), Content.of(b"abc"), Content.of(b"abd")
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != b"abc"
    assert repr(one) == "Content(ba7816bf, 3 bytes)"
    assert short(one.digest) == "ba7816bf"
