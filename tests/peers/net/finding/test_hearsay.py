"""What lies about addresses cost others: few dials, and never for ever."""

from __future__ import annotations

from peers.identity import Identity
from peers.net.addresses import Address
from peers.net.finding.book import MAX_HINTS, MAX_HINTS_AT, MAX_HINTS_OF_GROUP, AddressBook
from peers.net.finding.hearsay import FAILED_S, WRONG_HINTS, Hearsay, Informant

ME, ANNA = (Identity(bytes([n]) * 32).peer_id for n in (1, 2))
LIAR = Informant(ANNA, "v4:93.184.216.34")


def somebody(number: int) -> str:
    return Identity(number.to_bytes(32, "big")).peer_id


def at(number: int, host: str | None = None) -> Address:
    return Address(somebody(number), f"/ip4/{host or f'8.{number % 250}.1.1'}/tcp/4001")


def test_a_liar_causes_at_most_eight_dials_in_all() -> None:
    hearsay = Hearsay()
    dials = 0
    for number in range(1_000):
        now = 100.0 * number
        if hearsay.believes(at(number), LIAR, now) and hearsay.take(at(number), LIAR, now):
            dials += 1
            assert not hearsay.failed(at(number), LIAR, now)
    assert dials == WRONG_HINTS


def test_an_informant_that_is_right_may_go_on() -> None:
    hearsay = Hearsay()
    for number in range(1_000):
        assert hearsay.take(at(number), LIAR, 0.0)
        hearsay.proved(at(number), LIAR)


def test_four_hundred_identities_of_one_address_share_one_budget() -> None:
    hearsay = Hearsay()
    dials = sum(
        hearsay.take(at(number), Informant(somebody(5_000 + number), LIAR.group), float(number))
        for number in range(400)
    )
    assert dials == 16


def test_a_target_is_spared_whoever_names_it() -> None:
    hearsay = Hearsay()
    same = sum(
        hearsay.take(at(n, "8.8.8.8"), Informant(somebody(5_000 + n), f"v4:93.1.{n % 250}.1"), 0.0)
        for n in range(100)
    )
    assert same == 8
    scan = sum(
        hearsay.take(at(n, f"192.168.1.{n}"), Informant(somebody(6_000 + n), f"v4:192.168.{n % 250}.1"), 0.0)
        for n in range(100)
    )
    assert scan == 16


def test_an_address_that_failed_is_not_believed_for_an_hour_whoever_repeats_it() -> None:
    hearsay = Hearsay()
    other = Informant(somebody(7), "v4:93.1.1.1")
    hearsay.failed(at(1), LIAR, 0.0)
    assert not hearsay.believes(at(1), other, FAILED_S - 1)
    assert hearsay.believes(at(1), other, FAILED_S)


def test_a_peers_own_address_where_it_came_from_is_tried_again_within_the_budget() -> None:
    hearsay = Hearsay()
    own = Address(LIAR.peer, "/ip4/93.184.216.34/tcp/4001")
    dials = 0
    while hearsay.take(own, LIAR, 0.0):
        dials += 1
        assert hearsay.failed(own, LIAR, 0.0)
    assert dials == WRONG_HINTS


def test_the_book_holds_few_hints_of_one_informant_one_address_group_and_one_target() -> None:
    book = AddressBook(ME)
    assert sum(book.learn(at(n), now=0, informant=LIAR) for n in range(100)) == MAX_HINTS
    book = AddressBook(ME)
    many = [Informant(somebody(900 + n), LIAR.group) for n in range(200)]
    assert sum(book.learn(at(n), now=0, informant=one) for n, one in enumerate(many)) == MAX_HINTS_OF_GROUP
    book = AddressBook(ME)
    apart = [Informant(somebody(900 + n), f"v4:93.1.{n}.1") for n in range(20)]
    hints = [at(n, "8.8.8.8") for n in range(20)]
    assert sum(book.learn(a, now=0, informant=i) for a, i in zip(hints, apart, strict=True)) == MAX_HINTS_AT


def test_lies_about_a_peer_do_not_keep_its_own_word_out_of_the_book() -> None:
    book = AddressBook(ME)
    for port in range(8):
        book.learn(Address(somebody(1), f"/ip4/8.8.8.8/tcp/{2000 + port}"), now=0, informant=LIAR)
    own = at(1)
    assert not book.learn(own, now=0, informant=LIAR)
    assert book.learn(own, now=0, informant=Informant(somebody(1), "v4:8.1.1.1"))
    assert book.addresses_of(somebody(1))[0] == own


def test_many_addresses_of_one_owner_do_not_crowd_out_the_others() -> None:
    book = AddressBook(ME, seed=0)
    for number in range(100):
        book.learn(at(number, f"93.184.216.{number}"), now=0)
    for number in range(3):
        book.learn(at(1_000 + number, f"8.{number}.1.1"), now=0)
    first = book.due(lambda peer: False, room=4, now=1)
    assert {somebody(1_000 + number) for number in range(3)} < set(first)
