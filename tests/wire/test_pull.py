"""The two heads of the blob protocol."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import WireError
from wire.pull import (
    REQUEST_BYTES,
    RESPONSE_BYTES,
    PullRequest,
    PullResponse,
    PullStatus,
    decode_pull_request,
    decode_pull_response,
    encode_pull_request,
    encode_pull_response,
)

U64 = st.integers(0, 2**64 - 1)


@given(st.builds(PullRequest, st.binary(min_size=32, max_size=32), U64))
def test_a_request_round_trips(request: PullRequest) -> None:
    data = encode_pull_request(request)
    assert len(data) == REQUEST_BYTES == 40
    assert decode_pull_request(data) == request


@given(U64)
def test_an_answer_round_trips(size: int) -> None:
    for response in (
        PullResponse(PullStatus.FOUND, size),
        PullResponse(PullStatus.NOT_HERE, 0),
        PullResponse(PullStatus.BUSY, 0),
    ):
        data = encode_pull_response(response)
        assert len(data) == RESPONSE_BYTES == 9
        assert decode_pull_response(data) == response


@given(st.binary(max_size=64))
def test_any_bytes_decode_or_raise_wire_error(data: bytes) -> None:
    for decode, encode in (
        (decode_pull_request, encode_pull_request),
        (decode_pull_response, encode_pull_response),
    ):
        with suppress(WireError):
            assert encode(decode(data)) == data  # type: ignore[arg-type]


def test_the_headers_are_those_of_the_protocol_page() -> None:
    assert encode_pull_request(PullRequest(b"\xaa" * 32, 258)) == b"\xaa" * 32 + b"\x02\x01" + bytes(6)
    assert encode_pull_response(PullResponse(PullStatus.FOUND, 258)) == b"\0\x02\x01" + bytes(6)


@pytest.mark.parametrize(
    ("data", "field"),
    [(b"", "pull.response"), (b"\3" + bytes(8), "pull.status"), (b"\1\1" + bytes(7), "pull.size")],
)
def test_the_wrong_field_is_named(data: bytes, field: str) -> None:
    with pytest.raises(WireError) as caught:
        decode_pull_response(data)
    assert caught.value.field == field


def test_errors_of_the_caller_are_value_errors() -> None:
    with pytest.raises(ValueError, match="digest must have 32 bytes, got 31"):
        encode_pull_request(PullRequest(bytes(31), 0))
    with pytest.raises(ValueError, match="offset must be"):
        encode_pull_request(PullRequest(bytes(32), -1))
    with pytest.raises(ValueError, match="size must be 0 with BUSY"):
        encode_pull_response(PullResponse(PullStatus.BUSY, 1))
