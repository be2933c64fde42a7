"""The address book: which peers it offers for dialling, when, and which entries it keeps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from peers.identity import Identity
from peers.net.addresses import MAX_ADDRESSES, Address
from peers.net.finding.book import LAST_RETRY_S, MAX_PEERS, AddressBook
from peers.net.finding.hearsay import Informant

ME, ANNA, BERT, CARL = (Identity(bytes([n]) * 32).peer_id for n in (1, 2, 3, 4))


def somebody(number: int) -> str:
    return Identity(number.to_bytes(32, "big")).peer_id


def at(peer: str, port: int = 4001, host: str = "192.0.2.1") -> Address:
    return Address(peer, f"/ip4/{host}/tcp/{port}")


def test_the_book_never_dials_itself_nor_who_is_connected() -> None:
    book = AddressBook(ME, join=[str(at(ME)), str(at(ANNA))], seed=0)
    book.learn(at(ME), now=0)
    book.learn(at(BERT), now=0)
    assert book.due(lambda peer: False, room=9, now=1) == [ANNA, BERT]
    assert book.due(lambda peer: peer == BERT, room=9, now=1) == [ANNA]
    assert book.due(lambda peer: False, room=0, now=1) == [ANNA]


def test_silence_makes_retries_rarer_up_to_a_minute_and_an_answer_resets_them() -> None:
    book = AddressBook(ME, seed=0)
    book.learn(at(ANNA), now=0)
    now = 0.0
    waits: list[float] = []
    for _ in range(9):
        book.missed(ANNA, now=now)
        began = now
        while not book.due(lambda peer: False, room=1, now=now):
            now += 0.5
        waits.append(now - began)
    assert waits[0] <= 3
    assert waits[1] > waits[0]
    assert max(waits) <= LAST_RETRY_S * 1.25 + 0.5
    book.reached(at(ANNA), now=now)
    book.lost(ANNA, now=now)
    assert book.due(lambda peer: False, room=1, now=now) == [ANNA]


def test_what_answered_last_is_tried_first() -> None:
    book = AddressBook(ME)
    for port in (1, 2, 3):
        book.learn(at(ANNA, port), now=0)
    book.reached(at(ANNA, 1), now=1)
    assert book.addresses_of(ANNA)[0] == at(ANNA, 1)
    for port in range(10, 50):
        book.learn(at(ANNA, port), now=2)
    assert len(book.addresses_of(ANNA)) == MAX_ADDRESSES


def test_the_book_is_bounded_and_hearsay_displaces_neither_the_proved_nor_the_joined() -> None:
    book = AddressBook(ME, join=[str(at(ANNA))])
    book.reached(at(BERT), now=0)
    for number in range(10, 10 + 2 * MAX_PEERS):
        book.learn(at(somebody(number)), now=number)
    assert len(book) == MAX_PEERS
    assert book.addresses_of(ANNA)
    assert book.addresses_of(BERT)
    for number in range(1000, 1000 + 2 * MAX_PEERS):
        book.reached(at(somebody(number)), now=number)
    assert len(book) == MAX_PEERS
    assert book.addresses_of(ANNA)
    for number in range(5000, 5010):
        book.learn(at(somebody(number)), now=1e6)
        assert not book.addresses_of(somebody(number))


def test_the_book_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "home" / "peers.json"
    book = AddressBook(ME, join=[str(at(BERT))], path=path)
    book.learn(at(ANNA, 1), now=0)
    book.learn(at(ANNA, 2), now=0)
    book.save()
    again = AddressBook(ME, path=path)
    assert again.addresses_of(ANNA) == book.addresses_of(ANNA)
    assert [entry.name for entry in path.parent.iterdir()] == ["peers.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"peers": 1}',
        '{"peers": {"bob": ["x"]}}',
        '{"peers": {"bob": 7}}',
        "[" * 100_000,
        "\xff",
        " " * 2**21,
        json.dumps({"peers": {ANNA: [1, None, "/ip4/1/tcp/x", "\n"]}}),
    ],
)
def test_a_damaged_book_counts_as_empty(tmp_path: Path, text: str) -> None:
    path = tmp_path / "peers.json"
    path.write_text(text)
    assert len(AddressBook(ME, path=path)) == 0


def test_only_a_connection_that_lasted_clears_the_failures() -> None:
    book = AddressBook(ME, seed=0)
    book.learn(at(ANNA), now=0)
    for now in (0.0, 10.0, 30.0):
        book.reached(at(ANNA), now=now)
        book.missed(ANNA, now=now)  # It hung up at once.
    assert book.due(lambda peer: False, room=1, now=35.0) == []
    book.reached(at(ANNA), now=60.0)
    book.lost(ANNA, now=90.0)
    assert book.due(lambda peer: False, room=1, now=90.0) == [ANNA]


def test_learning_says_whether_the_address_was_unknown() -> None:
    book = AddressBook(ME, join=[str(at(BERT))])
    assert book.learn(at(ANNA), now=0)
    assert not book.learn(at(ANNA), now=1)
    assert not book.learn(at(BERT), now=1)
    assert not book.learn(at(ME), now=1)


def test_hints_are_not_saved_and_what_was_found_is(tmp_path: Path) -> None:
    book = AddressBook(ME, path=tmp_path / "book")
    source = Informant(CARL, "v4:198.51.100.1")
    book.learn(at(ANNA), now=0, informant=source)
    book.learn(at(BERT), now=0, informant=source)
    book.reached(at(BERT), now=1)
    assert book.informant_of(at(ANNA)) == source
    assert book.informant_of(at(BERT)) is None
    book.save()
    again = AddressBook(ME, path=tmp_path / "book")
    assert again.addresses_of(ANNA) == ()
    assert again.addresses_of(BERT) == (at(BERT),)


def test_a_forgotten_address_takes_the_peer_along_if_it_was_the_last_and_the_user_did_not_name_it() -> None:
    book = AddressBook(ME, join=[str(at(BERT, 1))])
    for port in (4001, 4002):
        book.learn(at(ANNA, port), now=0)
    book.learn(at(BERT, 2), now=0)
    for address in (at(ANNA, 4001), at(ANNA, 4002), at(BERT, 1), at(BERT, 2)):
        book.forget(address)
    assert len(book) == 1
    assert book.addresses_of(BERT) == (at(BERT, 1),)


def test_a_peer_that_is_silent_for_a_day_is_forgotten_but_not_by_one_without_neighbours() -> None:
    book = AddressBook(ME, join=[str(at(BERT))], seed=0)
    book.reached(at(ANNA), now=0)
    now, dials = 0.0, 0
    while book.addresses_of(ANNA):
        assert now < 2 * 86_400
        if ANNA in book.due(lambda peer: False, room=9, now=now):
            dials += 1
            book.missed(ANNA, now=now)
            book.missed(BERT, now=now)
        now += 10
    assert now > 86_000
    assert dials < 220
    assert book.addresses_of(BERT)
    offline = AddressBook(ME, seed=0)
    offline.reached(at(ANNA), now=0)
    for _ in range(1_000):
        offline.missed(ANNA, now=0, alone=True)
    assert offline.addresses_of(ANNA)


def test_addresses_that_are_no_peers_are_not_read_from_a_book(tmp_path: Path) -> None:
    path = tmp_path / "book"
    transports = ["/ip4/169.254.169.254/tcp/80", "/ip4/224.0.0.1/tcp/4001", "/ip4/192.168.1.5/tcp/4001"]
    path.write_text(json.dumps({"v": 1, "peers": {ANNA: transports}}))
    assert AddressBook(ME, path=path).addresses_of(ANNA) == (at(ANNA, host="192.168.1.5"),)
