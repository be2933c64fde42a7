"""The dialler's clocks, on a host that only counts and in time that jumps: how often it takes a turn and asks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock

from peers.identity import Identity
from peers.net.addresses import Address
from peers.net.config import NetworkConfig
from peers.net.finding import dialler
from peers.net.finding.book import AddressBook
from peers.net.finding.dialler import LAST_ASK_S, Dialler
from peers.net.host import Link
from peers.net.stack.names import UnknownName

ME, ANNA, BERT, CARL, DORA = (Identity(bytes([n]) * 32).peer_id for n in range(1, 6))


def at(peer: str, port: int = 4001, host: str = "192.0.2.1") -> Address:
    return Address(peer, f"/ip4/{host}/tcp/{port}")


def stranger(number: int) -> str:
    return Identity((1000 + number).to_bytes(32, "big")).peer_id


@dataclass
class CountingHost:
    """Neighbours that answer at once. Nobody else can be reached."""

    answer: Callable[[int], Sequence[Address]]
    connected: tuple[str, ...] = (ANNA, BERT, CARL)
    asks: int = 0
    turns: int = 0
    dialled: list[str] = field(default_factory=list[str])

    def neighbours(self) -> tuple[str, ...]:
        return self.connected

    def link(self, peer: str) -> Link:
        return Link(group="v4:192.0.2.9", outbound=True) if peer in self.connected else Link()

    def is_connected(self, peer: str) -> bool:
        return peer in self.connected

    async def dial(self, transport: str, peer: str) -> None:
        self.dialled.append(peer)
        await trio.lowlevel.checkpoint()
        raise OSError("nobody there")

    async def ask_for_peers(self, peer: str) -> Sequence[Address]:
        self.asks += 1
        await trio.lowlevel.checkpoint()
        return self.answer(self.asks)

    def mend(self) -> None:
        self.turns += 1


@pytest.fixture(autouse=True)
def usual_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialler, "REDIAL_S", 2.0)
    # A save waits for a thread, and virtual time would jump to the end of the test meanwhile.
    monkeypatch.setattr(dialler, "SAVE_S", math.inf)


async def watched(host: CountingHost, seconds: float) -> Dialler:
    """Run a dialler whose neighbours have just connected."""
    dialler = Dialler(host, AddressBook(ME, seed=0), NetworkConfig())
    for peer in host.connected:
        dialler.connected(peer)
    with trio.move_on_after(seconds):
        await dialler.run()
    return dialler


async def test_the_same_answers_lead_to_few_turns_and_fewer_questions(autojump_clock: MockClock) -> None:
    host = CountingHost(lambda asked: [at(peer) for peer in (ANNA, BERT, CARL)])
    await watched(host, 600)
    assert host.turns <= 600 / 2 + 10
    assert host.asks <= 600 / LAST_ASK_S + 15
    assert host.dialled == []


async def test_new_addresses_without_end_cause_eight_dials_for_each_liar_and_no_questions(
    autojump_clock: MockClock,
) -> None:
    quiet = CountingHost(lambda asked: [])
    liar = CountingHost(
        lambda asked: [at(stranger(10 * asked + i), host=f"93.{asked % 250}.{i}.1") for i in range(10)]
    )
    await watched(quiet, 600)
    await watched(liar, 600)
    assert 8 <= len(liar.dialled) <= 8 * len(liar.connected)
    assert liar.asks <= quiet.asks + 1
    assert liar.turns <= quiet.turns + liar.asks


async def test_an_answer_that_names_an_unknown_peer_is_dialled_at_once(autojump_clock: MockClock) -> None:
    host = CountingHost(lambda asked: [at(DORA)] if asked == 5 else [])
    found_after: list[float] = []
    answer = host.answer

    def noted(asked: int) -> Sequence[Address]:
        found_after.append(trio.current_time())
        return answer(asked)

    host.answer = noted
    dialled_at: list[float] = []

    async def dial(transport: str, peer: str) -> None:
        dialled_at.append(trio.current_time())
        await trio.lowlevel.checkpoint()

    host.dial = dial  # type: ignore[method-assign]
    await watched(host, 10)
    assert dialled_at[0] - found_after[4] <= 2 * dialler.MIN_PAUSE_S


async def test_turns_keep_their_distance_whatever_wakes_the_dialler(autojump_clock: MockClock) -> None:
    host = CountingHost(lambda asked: [])
    running = Dialler(host, AddressBook(ME, seed=0), NetworkConfig())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(running.run)
        for _ in range(1_000):
            running.connected(ANNA)
            running.disconnected(ANNA)
            await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    assert host.turns <= 1.0 / dialler.MIN_PAUSE_S + 2


async def test_a_name_of_the_users_that_the_system_does_not_know_is_said_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Nameless(CountingHost):
        async def dial(self, transport: str, peer: str) -> None:
            self.dialled.append(peer)
            await trio.lowlevel.checkpoint()
            raise UnknownName("nowhere.local: the system knows no such host")

    host = Nameless(answer=lambda _: (), connected=())
    join = f"/dns4/nowhere.local/tcp/4001/p2p/{ANNA}"
    with trio.move_on_after(300):
        await Dialler(host, AddressBook(ME, join=[join]), NetworkConfig(join=(join,))).run()

    assert len(host.dialled) > 3
    assert [one.getMessage() for one in caplog.records] == ["nowhere.local: the system knows no such host"]
