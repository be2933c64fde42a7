"""Reading a history from its end gives the same result as decoding all of it."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trust.inspection.reading import tail as tail_module
from trust.inspection.reading.pieces import pieces
from trust.inspection.reading.tail import Tail, read_tail
from trust.record.history import VERSION, Begun, Entry, Note, Record, Refusal, Round, Seen, Traffic
from trust.record.log import decoded

CARD = "\U0001f0e4at_s"
"""Encoded, it contains the bytes that every entry begins with: U+1F0E4 is F0 9F 83 A4."""

PEERS = ("a", "id-b" * 12, CARD, "\u00a4kind\u00a5round")


def encoded(record: Record, at_s: float = 1.5, kind: str = "blob") -> bytes:
    traffic = Traffic(sent={kind: 7}, received={})
    return msgspec.msgpack.encode(Entry(at_s=at_s, traffic=traffic, record=record))


def begun(peer: str, name: str, version: int = VERSION) -> Begun:
    return Begun(
        version=version,
        peer=peer,
        name=name,
        round=0,
        base="",
        tokenizer="",
        reference="",
        layout="",
        strategy="predictions",
        merge="svd",
        test_loss=1.0,
    )


def round_of(peer: str, number: int, seen: tuple[Seen, ...] = (), loss: float = 2.0) -> Round:
    return Round(
        peer=peer,
        round=number,
        self_weight=0.5,
        seen=seen,
        train_loss=loss,
        trust_alone=loss,
        trust_merged=loss,
        test_alone=loss,
        test_merged=loss,
        temperature=None,
        tried=(),
        guard="taken",
        tokens=1,
        samples=1,
        steps=1,
        train_s=1.0,
        gather_s=1.0,
        merge_s=1.0,
        discarded=0.0,
    )


def seen(name: str) -> Seen:
    return Seen(peer="z", name=name, its_round=1, age=0, distance=1.0, error=0.0, weight=0.5, tokens=1)


def whole_reading(data: bytes, at_round: int | None) -> Tail:
    history = decoded(data)
    names: dict[str, str] = {}
    rows: dict[str, Round] = {}
    for record in (entry.record for entry in history.entries):
        if isinstance(record, Begun):
            names[record.peer] = record.name
        if isinstance(record, Round) and at_round in (None, record.round):
            rows[record.peer] = record
    return Tail(names, rows, history.whole, history.torn, history.why)


texts = st.one_of(
    st.text(max_size=12),
    st.sampled_from([CARD, CARD * 3, "kind\u00a5begun", "\u00a4kind\u00a5round\u00a4peer"]),
)
peers = st.sampled_from(PEERS)
records = st.one_of(
    st.builds(begun, peers, texts),
    st.builds(
        round_of,
        peers,
        st.integers(0, 300),
        st.lists(texts.map(seen), max_size=3).map(tuple),
        st.floats(0, 9),
    ),
    st.builds(Refusal, peer=peers, about=texts, field=texts, why=texts),
    st.builds(Note, peer=peers, level=st.just("info"), text=texts),
)


def cut_off(record: Record, length: int) -> bytes:
    return encoded(record)[:length]


ends = st.one_of(
    st.just(b""),
    st.integers(1, 64).map(bytes),
    st.binary(max_size=40),
    st.builds(cut_off, records, st.integers(1, 60)),
)


@settings(max_examples=300)
@given(st.lists(records, min_size=1, max_size=25), ends, st.none() | st.integers(0, 300))
def test_reading_from_the_end_gives_what_full_decoding_gives(
    written: list[Record], end: bytes, number: int | None
) -> None:
    began: set[str] = set()
    data = b""
    for record in written:
        # As a peer does; a restart in the middle may change its name.
        if record.peer not in began:
            data += encoded(begun(record.peer, record.peer))
        began.add(record.peer)
        data += encoded(record, at_s=float(len(data)), kind=CARD)
    data += end
    whole = whole_reading(data, number)
    found = read_tail(data, at_round=number)
    assert found == whole
    assert found is not None
    assert list(found.names) == list(whole.names)


def test_of_a_repeated_round_the_last_one_counts() -> None:
    data = b"".join(map(encoded, [begun("a", "anna"), *(round_of("a", n, loss=n) for n in (1, 2, 3))]))
    data += encoded(begun("a", "anne")) + encoded(round_of("a", 2, loss=9.0))
    for number in (None, 2):
        found = read_tail(data, at_round=number)
        assert found is not None
        assert (found.rows["a"].train_loss, found.names["a"]) == (9.0, "anne")


def test_a_peer_that_left_early_keeps_its_last_row() -> None:
    early = [begun("a", "anna"), begun("b", "bert"), round_of("a", 1, loss=7.0)]
    data = b"".join(map(encoded, [*early, *(round_of("b", number) for number in range(1, 300))]))
    found = read_tail(data)
    assert found is not None
    assert {peer: row.round for peer, row in found.rows.items()} == {"b": 299, "a": 1}


def test_peers_are_found_where_no_peer_has_a_begun_record() -> None:
    data = b"".join(encoded(round_of(peer, number)) for number in (1, 2) for peer in "ab")
    found = read_tail(data)
    assert found is not None
    assert {peer: row.round for peer, row in found.rows.items()} == {"a": 2, "b": 2}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        bytes(100),
        CARD.encode() * 1000,
        encoded(begun("a", "anna", version=VERSION + 1)) + encoded(round_of("a", 1)),
        encoded(round_of("a", 1)) + encoded(begun("a", "anna", version=VERSION + 1)),
        encoded(round_of("a", 1)) + (b"\x83\xa4at_s" * 1000),
    ],
)
def test_an_end_that_is_not_understood_needs_full_decoding(data: bytes) -> None:
    assert read_tail(data) is None


def test_few_records_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"".join(map(encoded, [begun("a", "anna"), *(round_of("a", n) for n in range(2000))]))
    decode = msgspec.msgpack.decode
    sizes: list[int] = []

    def counting(data: bytes, **options: Any) -> Any:
        sizes.append(len(data))
        return decode(data, **options)

    monkeypatch.setattr(tail_module.msgspec.msgpack, "decode", counting)
    found = read_tail(data)
    assert found is not None
    assert found.rows["a"].round == 1999
    assert sum(sizes) < len(data) / 100


@given(st.lists(records, max_size=12), ends, st.integers(1, 4000))
def test_pieces_of_any_size_give_what_full_decoding_gives(
    written: list[Record], end: bytes, size: int
) -> None:
    data = b"".join(map(encoded, written)) + end
    read = list(pieces(io.BytesIO(data), piece=size))
    whole = decoded(data)
    last = read[-1]
    assert tuple(entry for piece in read for entry in piece.entries) == whole.entries
    assert (last.whole, last.torn, last.why, last.later) == (whole.whole, whole.torn, whole.why, whole.later)
    assert all((piece.torn, piece.why) == (0, "") for piece in read[:-1])
