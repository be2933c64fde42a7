"""What a round costs beside training: four peers on loopback, 1.0 M parameters in float32, all pull from all.

    python benchmarks/round_overhead.py [--peers 4] [--parameters 1000000] [--rounds 5] [--no-disk] [--against hivemind]

Each peer is a process with the real core, driver, libp2p host and store; only the learner is a stand-in: it has its
next update ready, and merges by the plain mean. A round lasts from when the last peer has merged to when the
last one has merged again: signing, saving the announcement and the update, gossip, pulling 4 MB from each of the
others (verified), checking the numbers, averaging, saving again. Beside it, in the same processes and the same
run, the same bytes over raw TCP sockets: what the machine can do at all; and with `--against hivemind` the rounds of
hivemind's averager (`hivemind_rounds.py`), half of them before this project's and half after.

On a busy machine a peer may merge without an update that came too late. Such a round did less, so it does not count;
how many were left out is printed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import hivemind_rounds
import numpy as np
import raw_tcp
import trio

from wire.updates.units import Offer, Schema, Unit, decode_offered, encode_offered

PARAMETERS = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", type=int, default=4)
    parser.add_argument("--parameters", type=int, default=PARAMETERS)
    parser.add_argument("--rounds", type=int, default=5, help="warm rounds; one more goes before them")
    parser.add_argument("--no-disk", action="store_true", help="keep no state: what the network alone takes")
    parser.add_argument("--against", choices=["hivemind"])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.against and (why := hivemind_rounds.missing()):
        parser.exit(2, f"{why}\n")
    theirs = _hivemind(options)
    context = multiprocessing.get_context("spawn")
    pipes: list[Any] = []
    processes: list[Any] = []
    with tempfile.TemporaryDirectory() as folder:
        for index in range(options.peers):
            ours, its = context.Pipe()
            process = context.Process(target=_peer, args=(index, options, folder, its), daemon=True)
            process.start()
            pipes.append(ours)
            processes.append(process)
        raw = raw_tcp.rounds_s(pipes, rounds=options.rounds)
        results = _gossip_phase(pipes)
        for process in processes:
            process.join(10)
    _print(options, raw, results, [*theirs, *_hivemind(options)])


def _hivemind(options: argparse.Namespace) -> list[float]:
    if not options.against:
        return []
    return hivemind_rounds.rounds_s(peers=options.peers, parameters=options.parameters, rounds=options.rounds)


@dataclass(frozen=True)
class _Result:
    """One peer's figures. `merged_at` is on the clock that all processes share, so that a round of the whole
    network lasts from the moment the last peer has merged to the moment the last one has merged again."""

    merged_at: list[float]
    gather_s: list[float]
    first_round_s: float
    cpu_s: float
    incomplete: list[int]
    """Rounds that were merged without an update."""


def _print(
    options: argparse.Namespace, raw: list[float], results: list[_Result], theirs: list[float]
) -> None:
    size_mb = 4 * options.parameters / 1e6
    ends = [max(times) for times in zip(*(one.merged_at for one in results), strict=True)]
    left_out = {number for one in results for number in one.incomplete}
    all_rounds = [after - before for before, after in pairwise(ends)]
    rounds = [took for number, took in enumerate(all_rounds, 1) if number not in left_out]
    if not rounds:
        sys.exit("in every round some update came too late to be merged: the machine is too busy")
    gather = statistics.median(value for one in results for value in one.gather_s)
    figures = {
        "peers": options.peers,
        "update_mb": size_mb,
        "exchanged_mb": options.peers * (options.peers - 1) * size_mb,
        "raw_tcp_s": statistics.median(raw),
        "round_s": statistics.median(rounds),
        "times_raw": statistics.median(rounds) / statistics.median(raw),
        "gather_s": gather,
        "rest_s": statistics.median(rounds) - gather,
        "cpu_s": sum(one.cpu_s for one in results) / options.rounds,
        "left_out": len(all_rounds) - len(rounds),
        "first_round_s": max(one.first_round_s for one in results),
        **({"hivemind_s": statistics.median(theirs)} if theirs else {}),
    }
    if options.json:
        print(json.dumps({**figures, "disk": not options.no_disk, "rounds_s": rounds}))
        return
    kept = "no state kept" if options.no_disk else "state kept on disk, flushed"
    listed = ", ".join(f"{one:.3f}" for one in rounds)
    print("{peers} peers, {update_mb:.1f} MB each, {exchanged_mb:.0f} MB a round, ".format(**figures) + kept)
    print("raw TCP, same bytes, same run   {raw_tcp_s:.3f} s".format(**figures))
    print("gossipllm, warm round           {round_s:.3f} s, {times_raw:.1f} times raw".format(**figures))
    print(f"  each round                    {listed}")
    if theirs:
        ratio = figures["round_s"] / figures["hivemind_s"]
        print(
            f"hivemind, warm round            {figures['hivemind_s']:.3f} s, gossipllm takes {ratio:.2f} times as long"
        )
        print(f"  an all-reduce of              {2 * (options.peers - 1) * size_mb:.0f} MB")
    if len(rounds) < len(all_rounds):
        print(f"  left out, an update was late  {len(all_rounds) - len(rounds)}")
    print("  announce, pull, check         {gather_s:.3f} s".format(**figures))
    print("  save twice, sign, average     {rest_s:.3f} s".format(**figures))
    print("processor time, all peers       {cpu_s:.3f} s a round".format(**figures))
    print(
        "first round                     {first_round_s:.2f} s after the network processes began".format(
            **figures
        )
    )


# -- gossip -----------------------------------------------------------------------------------------


def _gossip_phase(pipes: list[Any]) -> list[_Result]:
    address = ""
    for pipe in pipes:
        pipe.send(address)
        address = address or pipe.recv()
    results = [pipe.recv() for pipe in pipes]
    for pipe in pipes:
        pipe.send("end")
    return results


def _peer(index: int, options: argparse.Namespace, folder: str, pipe: Connection) -> None:
    raw_tcp.peer(index, pipe, parameters=options.parameters, rounds=options.rounds)
    join = pipe.recv()
    began = time.perf_counter()
    trio.run(_gossip_peer, index, options, Path(folder), join, pipe, began)


async def _gossip_peer(
    index: int, options: argparse.Namespace, folder: Path, join: str, pipe: Connection, began: float
) -> None:
    from peers.core.config import CoreConfig, RoundConfig
    from peers.core.core import Core
    from peers.core.merge_inputs import MergeInputs
    from peers.core.saved import Saved
    from peers.home.store import StateStore
    from peers.identity import Identity
    from peers.net.config import NetworkConfig
    from peers.net.libp2p_host import open_network
    from peers.run.command import DeviceKeys
    from peers.run.driver import Driver
    from trust.rows.rows import TrustConfig

    class NoDisk:
        def save(self, saved: Saved) -> None:
            """Nothing is kept."""

        def keep(self, inputs: MergeInputs) -> None:
            """Nothing is kept."""

    identity = Identity.generate()
    config = CoreConfig(
        name=f"p{index}",
        network="round-overhead",
        round=RoundConfig(
            steps=1, rounds=options.rounds + 1, patience_s=30.0, quorum=options.peers - 1, guard=False
        ),
        trust=TrustConfig(strategy="uniform"),
    )
    watcher = _Watcher(options.rounds + 1)
    learning = _ReadyLearner(index, options, lambda: len(network.neighbours()) == options.peers - 1, watcher)
    keeper = NoDisk() if options.no_disk else StateStore(folder / f"state{index}")
    driver = Driver(
        Core(config, DeviceKeys(identity), None), learning=learning, keeper=keeper, watcher=watcher
    )
    network_config = NetworkConfig(listen="/ip4/127.0.0.1/tcp/0", join=(join,) if join else ())
    async with open_network(identity, driver, network_config) as network:
        if not join:
            pipe.send(network.addresses[0])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(driver.run, network)
            with trio.fail_after(120):
                await watcher.done.wait()
            pipe.send(watcher.result(began))
            # The other peers may still be pulling our last update.
            await trio.to_thread.run_sync(pipe.recv)
            nursery.cancel_scope.cancel()


class _Watcher:
    """Notes when merges end, the processor time by then, and how long the core says each phase took."""

    def __init__(self, rounds: int) -> None:
        self.done = trio.Event()
        """So many rounds are over."""
        self._rounds = rounds
        self.merged_at: list[float] = []
        self.cpu_s: list[float] = []
        self.gather_s: list[float] = []
        self.whole_rounds: set[int] = set()
        """Rounds in which every peer's update was merged."""

    def report(self, record: Any, traffic: Any) -> None:
        del traffic
        if type(record).__name__ == "Round":
            self.merged_at.append(time.perf_counter())
            self.cpu_s.append(time.process_time())
            self.gather_s.append(record.gather_s)
            if len(self.merged_at) == self._rounds:
                self.done.set()

    def progress(self, progress: Any) -> None:
        """The stand-in reports none."""

    def result(self, began: float) -> _Result:
        return _Result(
            merged_at=self.merged_at,
            gather_s=self.gather_s[1:],
            first_round_s=self.merged_at[0] - began,
            cpu_s=self.cpu_s[-1] - self.cpu_s[0],
            incomplete=[each for each in range(len(self.merged_at)) if each not in self.whole_rounds],
        )


WHOLE = Offer(0)
"""All there is: the one tensor has no rank."""


class _ReadyLearner:
    """A stand-in for the learner, with its updates ready. It starts the first round when all peers are connected."""

    def __init__(
        self, index: int, options: argparse.Namespace, complete: Callable[[], bool], watcher: _Watcher
    ) -> None:
        self._to_ask, self._asked = trio.open_memory_channel[Any](100)
        self._complete = complete
        self._others = options.peers - 1
        self._watcher = watcher
        rng = np.random.default_rng(index)
        shape = (options.rounds + 1, options.parameters)
        self._updates = rng.standard_normal(shape, dtype=np.float32)
        self._term = np.empty(self._updates.shape[1:], np.float32)
        """Where a product stands for a moment; a new array each time costs more than the product."""
        self._schema = Schema((Unit("w", 0, (("w", self._updates.shape[1:]),)),), "f32")

    def ask(self, request: Any) -> None:
        self._to_ask.send_nowait(request)

    async def run(self, answered: Callable[[Any], None], lost: Callable[[str, bool], None]) -> None:
        del lost
        async for request in self._asked:
            if type(request).__name__ == "Train" and request.round == 0:
                while not self._complete():  # noqa: ASYNC110 - a state of the network, not an event
                    await trio.sleep(0.005)
            answered(await trio.to_thread.run_sync(self._answer, request))

    def _answer(self, request: Any) -> Any:
        from gossipllm import work
        from sim.toy.learner import EVIDENCE, ROWS, fingerprints
        from wire.digest import Content

        match request:
            case work.Open():
                return work.Opened(
                    request=request.request,
                    fingerprints=fingerprints(),
                    units=self._schema.units,
                    offer=WHOLE,
                    codec="f32",
                    rows=ROWS.rows,
                    top=ROWS.top,
                    vocabulary=ROWS.vocabulary,
                    raw=False,
                    round=0,
                    train_tokens=1,
                    trust_tokens=1,
                    test_tokens=1,
                    test_loss=1.0,
                    device="none",
                    dtype="float32",
                )
            case work.Train():
                self._round = request.round
                self._own = self._updates[request.round]
                return work.Trained(
                    request=request.request,
                    round=request.round,
                    update=Content.of(encode_offered({"w": self._own}, self._schema, WHOLE)),
                    offer=WHOLE,
                    evidence=EVIDENCE,
                    snapshot=Content.of(b"none"),
                    tokens=1,
                    samples=1,
                    steps=1,
                    train_loss=1.0,
                    trust_loss=1.0,
                    seconds=0.0,
                )
            case work.Evaluate():
                zeros = tuple(0.0 for _ in request.rows)
                return work.Evaluated(
                    request=request.request, losses=zeros, proposed=zeros, gains=zeros, errors=zeros
                )
            case work.Merge():
                merged = self._own * np.float32(request.row[0])
                for weight, update in zip(request.row[1:], request.updates, strict=True):
                    theirs = decode_offered(update.data, self._schema)[1]["w"]
                    merged += np.multiply(theirs, np.float32(weight), out=self._term)
                if len(request.updates) == self._others:
                    self._watcher.whole_rounds.add(self._round)
                return work.Merged(
                    request=request.request,
                    snapshot=Content.of(b"none"),
                    trust_loss=float(merged[0]),
                    test_alone=1.0,
                    test_merged=1.0,
                    discarded=0.0,
                    seconds=0.0,
                )
            case _:
                raise AssertionError(f"the stand-in does not answer this: {request}")


if __name__ == "__main__":
    sys.exit(main())
