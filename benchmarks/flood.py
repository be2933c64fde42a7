"""What a flood costs a peer: memory, history, stalls of its event loop, and whether an honest neighbour is still heard.

    python benchmarks/flood.py [--seconds 60] [--json]

Four processes: a victim and an honest neighbour, each with the real core, driver, history file and libp2p host (only
the learner is a toy, with a round a second), and a flood in two, from 65 loopback addresses. It does all at once
and as fast as it can: announcements of fresh keys (valid, and of another network), forged and malformed frames, wishes
and control messages, greetings, questions for peers, requests for blobs that are not read, a thousand identities that
want connections, and silent sockets.

An hour is scaled like this. Memory is the largest of the victim's resident set during the flood, above that before
it: all stores of the network are bounded. Those that do not fill in this time are the digests of judged messages,
which take 12 MB when full. History is extrapolated from the second half, when the bursts that budgets allow are spent:
what the first half wrote counts once, the rate of the second for the rest of the hour; most of it is the victim's own
rounds, one a second. Stalls are those of a task that wants to run every 5 ms.
Goals: 64 MiB, 10 MB an hour, 50 ms, everything delivered.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import trio
import trio.lowlevel

GOAL_MEMORY_MIB, GOAL_HISTORY_MB, GOAL_STALL_S = 64.0, 10.0, 0.050
TICK_S = 0.005
WARM_S = 5.0
STARTED_BYTES, START_S = 100_000, 60.0
"""Announcements of the flood that the victim has received when the measurement begins, within these seconds: before a
thousand others want to connect."""
SOURCES = tuple(f"127.0.0.{number}" for number in range(100, 164))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measured(options.seconds)
    if options.json:
        print(json.dumps(figures))
        return
    print(f"a flood of {options.seconds:.0f} s: {figures['received_mb']:.1f} MB of announcements")
    print(f"memory above before  {figures['memory_mib']:>8.1f} MiB    goal {GOAL_MEMORY_MIB:.0f}")
    print(f"history an hour      {figures['history_mb_hour']:>8.2f} MB     goal {GOAL_HISTORY_MB:.0f}")
    print(f"stall, p99           {1e3 * figures['stall_p99_s']:>8.1f} ms     goal {1e3 * GOAL_STALL_S:.0f}")
    print(f"stall, largest       {1e3 * figures['stall_max_s']:>8.1f} ms")
    print(f"stall before, p99    {1e3 * figures['quiet_p99_s']:>8.1f} ms")
    print(f"honest rounds heard  {figures['heard']:>5.0f} of {figures['sent']:.0f}")
    print(f"connections          {figures['connections']:>8.0f}")


def measured(seconds: float) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="gossipllm-flood-") as folder:
        victim, victim_end = _pipe(context)
        honest, honest_end = _pipe(context)
        flood, flood_end = _pipe(context)
        many, many_end = _pipe(context)
        history = str(Path(folder) / "history")
        processes: list[Any] = [
            context.Process(target=_peer, args=("127.0.0.1", "", history, victim_end), daemon=True)
        ]
        processes[0].start()
        address: str = victim.recv()
        processes.append(
            context.Process(target=_peer, args=("127.0.0.2", address, history + "2", honest_end), daemon=True)
        )
        processes[1].start()
        honest.recv()
        time.sleep(WARM_S)
        before, quiet = _asked(victim), psutil.Process(processes[0].pid).memory_info().rss
        sent_before = _asked(honest)["sent"]
        for crowd, pipe, end in ((False, flood, flood_end), (True, many, many_end)):
            processes.append(context.Process(target=_flood, args=(address, end, crowd), daemon=True))
            processes[-1].start()
            pipe.recv()
            if not crowd:
                _await_flood(victim, before["received"] + STARTED_BYTES)
        peak, middle, began = quiet, before, time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            time.sleep(0.1)
            peak = max(peak, psutil.Process(processes[0].pid).memory_info().rss)
            if passed >= seconds / 2 and middle is before:
                middle = _asked(victim)
        after, sent = _asked(victim), _asked(honest)["sent"] - sent_before
        for pipe in (victim, honest, flood, many):
            pipe.send("end")
        for process in processes:
            process.join(10)
            process.kill()
    steady_s = (after["history"] - middle["history"]) / (seconds / 2)
    return {
        "seconds": seconds,
        "received_mb": (after["received"] - before["received"]) / 1e6,
        "memory_mib": (peak - quiet) / 2**20,
        "history_mb_hour": (middle["history"] - before["history"] + steady_s * 3_600) / 1e6,
        "stall_p99_s": after["p99"],
        "stall_max_s": after["max"],
        "quiet_p99_s": before["p99"],
        "heard": after["heard"] - before["heard"],
        "sent": sent,
        "connections": after["connections"],
    }


def _await_flood(victim: Connection, received: float) -> None:
    """Wait until the flood has arrived: a flood that nobody feels measures nothing."""
    deadline = time.monotonic() + START_S
    while _asked(victim)["received"] < received:
        if time.monotonic() > deadline:
            raise RuntimeError(f"no flood came in {START_S:.0f} s")
        time.sleep(0.2)


def _pipe(context: Any) -> tuple[Any, Any]:
    return context.Pipe()


def _asked(pipe: Connection) -> dict[str, float]:
    pipe.send("read")
    return pipe.recv()


def _peer(host: str, join: str, history: str, pipe: Connection) -> None:
    trio.run(_run_peer, host, join, history, pipe)


async def _run_peer(host: str, join: str, history: str, pipe: Connection) -> None:
    from peers.core.config import CoreConfig, RoundConfig
    from peers.core.core import Core
    from peers.identity import Identity
    from peers.net.config import NetworkConfig
    from peers.net.libp2p_host import open_network
    from peers.run.command import DeviceKeys
    from peers.run.driver import Driver
    from trust.record.writer import HistoryWriter

    identity = Identity.generate()
    core = Core(CoreConfig(name=host, round=RoundConfig(patience_s=1.0)), DeviceKeys(identity), None)
    with HistoryWriter(Path(history), peer=identity.peer_id, now=time.time()) as writer:
        driver = Driver(core, learning=_ToyLearning(), keeper=_NoDisk(), watcher=_Writing(writer))
        watched: Any = _Watched(driver)
        config = NetworkConfig(listen=f"/ip4/{host}/tcp/0", join=(join,) if join else ())
        async with open_network(identity, watched, config) as network, trio.open_nursery() as nursery:
            publish = network.publish

            async def counted(frame: bytes) -> None:
                watched.sent += 1
                await publish(frame)

            network.publish = counted
            nursery.start_soon(driver.run, network)
            nursery.start_soon(watched.tick)
            pipe.send(network.addresses[0])
            while await trio.to_thread.run_sync(pipe.recv) == "read":
                written = sum(
                    each.stat().st_size for each in Path(history).parent.glob(f"{Path(history).name}*")
                )
                figures = watched.figures()
                figures["connections"] = len(network.neighbours())
                figures["received"] = network.traffic().received["announce"]
                figures["history"] = written
                pipe.send(figures)
            nursery.cancel_scope.cancel()


class _Watched:
    """A peer that counts what it accepts from the neighbour at 127.0.0.2, and how late it runs."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._honest: set[str] = set()
        self._late: list[float] = []
        self.heard = self.sent = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def connected(self, peer: str, link: Any) -> None:
        if link.group == "v4:127.0.0.2":
            self._honest.add(peer)
        self._driver.connected(peer, link)

    def hear(self, frame: bytes, via: str) -> Any:
        verdict = self._driver.hear(frame, via)
        self.heard += via in self._honest and verdict.name == "ACCEPT"
        return verdict

    async def tick(self) -> None:
        while True:
            began = trio.current_time()
            await trio.sleep(TICK_S)
            self._late.append(trio.current_time() - began - TICK_S)

    def figures(self) -> dict[str, float]:
        late, self._late = sorted(self._late), []
        return {
            "p99": late[int(0.99 * (len(late) - 1))],
            "max": late[-1],
            "heard": self.heard,
            "sent": self.sent,
        }


class _Writing:
    """The watcher of a device: every record goes to the history."""

    def __init__(self, writer: Any) -> None:
        from peers.run.recording import RecordingWatcher

        quiet: Any = _NoScreen()
        self._recording = RecordingWatcher(writer, quiet, path=Path("history"), me="")

    def report(self, record: Any, traffic: Any) -> None:
        self._recording.report(record, traffic)

    def progress(self, progress: Any) -> None:
        """The toy learner reports none."""


class _NoScreen:
    failure = ""

    def record(self, record: Any, traffic: Any) -> None:
        """Nobody looks."""


class _NoDisk:
    def save(self, saved: Any) -> None:
        """Nothing is kept."""

    def keep(self, inputs: Any) -> None:
        """Nothing is kept."""


class _ToyLearning:
    """A toy learner that takes a second for a round."""

    def __init__(self) -> None:
        self._to_ask, self._asked = trio.open_memory_channel[Any](100)

    def ask(self, request: Any) -> None:
        self._to_ask.send_nowait(request)

    async def run(self, answered: Callable[[Any], None], lost: Callable[[str, bool], None]) -> None:
        from gossipllm.work import Train
        from sim.toy.learner import ToyLearner

        del lost
        learner = ToyLearner([0.0] * 4)
        async for request in self._asked:
            if isinstance(request, Train):
                await trio.sleep(1.0)
            answered(learner.answer(request))


def _flood(address: str, pipe: Connection, crowd: bool) -> None:
    """Everything that is sent over connections or, with `crowd`, everyone who wants one."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    trio.run(_run_flood, address, pipe, crowd)


async def _run_flood(address: str, pipe: Connection, crowd: bool) -> None:
    attacker_module: Any = importlib.import_module("support.attacker")
    sybils: Any = importlib.import_module("support.sybils")
    member = SimpleNamespace(network=SimpleNamespace(addresses=(address,)))
    async with trio.open_nursery() as nursery:
        if crowd:
            nursery.start_soon(sybils.Sybils(address, SOURCES).run, 1_000)
            nursery.start_soon(_silence, address, sybils)
        else:
            for attack in ATTACKS:
                nursery.start_soon(_again, attack, lambda: attacker_module.attacker_on(member))
        pipe.send("flooding")
        await trio.to_thread.run_sync(pipe.recv)
        nursery.cancel_scope.cancel()


async def _again(attack: Callable[[Any], AsyncIterator[None]], attacker: Callable[[], Any]) -> None:
    """For ever, as a new identity whenever the last one was thrown out."""
    while True:
        with suppress(Exception):
            async with attacker() as identity:
                async for _ in attack(identity):
                    await trio.lowlevel.checkpoint()
        await trio.sleep(0.2)


async def _silence(address: str, sybils: Any) -> None:
    async with trio.open_nursery() as nursery:

        async def hold(source: str) -> None:
            while True:
                with suppress(OSError, trio.BrokenResourceError):
                    stream = await sybils.stream_from(source, address)
                    await stream.receive_some(1)
                await trio.sleep(0.5)

        for source in SOURCES:
            nursery.start_soon(hold, source)


async def _announcements(attacker: Any, **changes: Any) -> AsyncIterator[None]:
    bench: Any = importlib.import_module("support.core_bench")
    from peers.identity import Identity
    from peers.run.command import DeviceKeys

    rpc: Any = importlib.import_module("libp2p.pubsub.pb.rpc_pb2")
    stream = await attacker.open()
    while True:
        messages: list[Any] = []
        for _ in range(16):
            identity = Identity.generate()
            frame = bench.RemotePeer("x", keys=DeviceKeys(identity)).announce(0, **changes)
            messages.append(attacker.message(identity, data=frame))
        await stream.write(attacker.framed(rpc.RPC(publish=messages).SerializeToString()))
        yield


def _fresh_keys(attacker: Any) -> AsyncIterator[None]:
    return _announcements(attacker)


def _another_network(attacker: Any) -> AsyncIterator[None]:
    return _announcements(attacker, net=bytes(32))


async def _forged(attacker: Any) -> AsyncIterator[None]:
    while True:
        await attacker.publish(*(attacker.message(data=b"%d" % n, signature=bytes(64)) for n in range(32)))
        yield


async def _malformed(attacker: Any) -> AsyncIterator[None]:
    while True:
        await attacker.send(attacker.framed(b"\xff" * 60_000))
        yield


async def _wishes(attacker: Any) -> AsyncIterator[None]:
    rpc: Any = importlib.import_module("libp2p.pubsub.pb.rpc_pb2")
    stream = await attacker.open()
    wish = attacker.control(iwant=[rpc.ControlIWant(messageIDs=[b"%d" % n for n in range(256)])])
    while True:
        await stream.write(attacker.framed(wish.SerializeToString()))
        yield


async def _greetings(attacker: Any) -> AsyncIterator[None]:
    while True:
        await attacker.send((60_000).to_bytes(4, "little") + bytes(60_000), protocol="/gossipllm/known/2")
        await attacker.send(b"\0\0", protocol="/gossipllm/peers/1")
        yield


async def _blobs(attacker: Any) -> AsyncIterator[None]:
    while True:
        await attacker.send(bytes(40), protocol="/gossipllm/blob/1")
        yield


ATTACKS: tuple[Callable[[Any], AsyncIterator[None]], ...] = (
    _fresh_keys,
    _another_network,
    _forged,
    _malformed,
    _wishes,
    _greetings,
    _blobs,
)


if __name__ == "__main__":
    main()
