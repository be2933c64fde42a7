"""What an idle peer costs: processor share and bytes per second, with three neighbours that are idle too.

    python benchmarks/idle_peer.py [--neighbours 3] [--seconds 30] [--json]

Each peer is a process with the real core, driver and libp2p host; only the learner is a toy. All peers finish one
round, settle for `--settle` seconds and then do nothing. The figures are those of the first peer: processor time
of its process, bytes written to its sockets (with all headers of Noise and Yamux, without TCP's own) and turns of
its dialler. The goal is at most 1 % of a core and 0.5 kB/s.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import trio

GOAL_CORE, GOAL_BYTES_S = 0.01, 500.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--neighbours", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument(
        "--settle", type=float, default=10.0, help="seconds between the round and the measurement"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = _measured(options)
    if options.json:
        print(json.dumps(figures))
        return
    print(f"idle peer with {options.neighbours} neighbours, {options.seconds:.0f} s")
    print(f"processor         {figures['core']:>8.2%} of a core   goal {GOAL_CORE:.0%}")
    print(f"sent              {figures['sent_bytes_s']:>8.0f} bytes/s     goal {GOAL_BYTES_S:.0f}")
    print(f"dialler           {figures['turns_s']:>8.2f} turns/s")


def _measured(options: argparse.Namespace) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    pipes: list[Any] = []
    processes: list[Any] = []
    address = ""
    for index in range(options.neighbours + 1):
        ours, theirs = context.Pipe()
        process = context.Process(target=_peer, args=(index, options, address, theirs), daemon=True)
        process.start()
        pipes.append(ours)
        processes.append(process)
        address = address or ours.recv()
    for pipe in pipes:
        pipe.recv()
    time.sleep(options.settle)
    before = _asked(pipes[0])
    time.sleep(options.seconds)
    after = _asked(pipes[0])
    for pipe in pipes:
        pipe.send("end")
    for process in processes:
        process.join(10)
    seconds = after.at_s - before.at_s
    return {
        "neighbours": options.neighbours,
        "seconds": seconds,
        "core": (after.processor_s - before.processor_s) / seconds,
        "sent_bytes_s": (after.sent_bytes - before.sent_bytes) / seconds,
        "turns_s": (after.turns - before.turns) / seconds,
    }


@dataclass(frozen=True)
class _Reading:
    at_s: float
    processor_s: float
    sent_bytes: int
    turns: int


def _asked(pipe: Connection) -> _Reading:
    pipe.send("read")
    return pipe.recv()


class _Meter:
    """Counts the bytes that this process writes to sockets of libp2p, and the turns of its dialler."""

    def __init__(self) -> None:
        from peers.net.finding.book import AddressBook
        from peers.net.stack.tcp import Socket

        meter, write, due = self, Socket.write, AddressBook.due
        self.sent_bytes = 0
        self.turns = 0

        async def counted_write(self: Socket, data: bytes) -> None:
            meter.sent_bytes += len(data)
            await write(self, data)

        def counted_due(
            self: AddressBook, connected: Callable[[str], bool], *, room: int, now: float
        ) -> list[str]:
            meter.turns += 1
            return due(self, connected, room=room, now=now)

        Socket.write = counted_write
        AddressBook.due = counted_due

    def reading(self) -> _Reading:
        return _Reading(time.perf_counter(), time.process_time(), self.sent_bytes, self.turns)


def _peer(index: int, options: argparse.Namespace, join: str, pipe: Connection) -> None:
    trio.run(_run_peer, index, options, join, pipe)


async def _run_peer(index: int, options: argparse.Namespace, join: str, pipe: Connection) -> None:
    from peers.core.config import CoreConfig, RoundConfig
    from peers.core.core import Core
    from peers.identity import Identity
    from peers.net.config import NetworkConfig
    from peers.net.libp2p_host import open_network
    from peers.run.command import DeviceKeys
    from peers.run.driver import Driver
    from trust.rows.rows import TrustConfig

    meter = _Meter()
    identity = Identity.generate()
    config = CoreConfig(
        name=f"p{index}",
        network="idle-peer",
        round=RoundConfig(steps=1, rounds=1, patience_s=5.0, quorum=options.neighbours, guard=False),
        trust=TrustConfig(strategy="uniform"),
    )
    watcher = _Watcher()
    connected: Callable[[], bool] = lambda: len(network.neighbours()) == options.neighbours  # noqa: E731
    driver = Driver(
        Core(config, DeviceKeys(identity), None),
        learning=_ToyLearning(connected),
        keeper=_NoDisk(),
        watcher=watcher,
    )
    network_config = NetworkConfig(listen="/ip4/127.0.0.1/tcp/0", join=(join,) if join else ())
    async with open_network(identity, driver, network_config) as network:
        if not join:
            pipe.send(network.addresses[0])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(driver.run, network)
            with trio.fail_after(120):
                await watcher.merged.wait()
            pipe.send("idle")
            while await trio.to_thread.run_sync(pipe.recv) == "read":
                pipe.send(meter.reading())
            nursery.cancel_scope.cancel()


class _Watcher:
    """Sets `merged` when the peer's first round ends."""

    def __init__(self) -> None:
        self.merged = trio.Event()

    def report(self, record: Any, traffic: Any) -> None:
        del traffic
        if type(record).__name__ == "Round":
            self.merged.set()

    def progress(self, progress: Any) -> None:
        """The toy learner reports none."""


class _NoDisk:
    def save(self, saved: Any) -> None:
        """Nothing is kept."""

    def keep(self, inputs: Any) -> None:
        """Nothing is kept."""


class _ToyLearning:
    """A toy learner that starts its round when `ready` holds."""

    def __init__(self, ready: Callable[[], bool]) -> None:
        self._to_ask, self._asked = trio.open_memory_channel[Any](100)
        self._ready = ready

    def ask(self, request: Any) -> None:
        self._to_ask.send_nowait(request)

    async def run(self, answered: Callable[[Any], None], lost: Callable[[str, bool], None]) -> None:
        from sim.toy.learner import ToyLearner

        del lost
        learner = ToyLearner([0.0] * 4)
        while not self._ready():  # noqa: ASYNC110 - a state of the network, not an event
            await trio.sleep(0.01)
        async for request in self._asked:
            answered(learner.answer(request))


if __name__ == "__main__":
    main()
