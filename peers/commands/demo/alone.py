"""The comparison with training alone: the same steps on the same text from the same start, without neighbours.

A peer that trains a few blocks at a time does so alone as well, round-robin. A peer that shares attention heads with
others trains all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

from gossipllm.work import Answer, Failed, Merge, Merged, Open, Opened, Progress, Request, Train, Trained
from peers.commands.demo.demo_peers import DemoPeer
from peers.run.learner_process import LearnerProcess
from trust.errors import UserMistake
from trust.rows.importance import round_robin
from wire.units import Schema

AT_ONCE = 2
"""Learners at the same time; each uses one thread. Guess: as many as the smallest machines have cores."""


async def train_alone(
    peers_of_demo: Sequence[DemoPeer], log: Path, *, done: Callable[[float], None]
) -> dict[str, float]:
    """Test loss of each demo_peer, by name, after its rounds without any merge.

    `done` is called with each fraction of the whole that is finished. Raises `UserMistake` where a learner
    fails.
    """
    losses: dict[str, float] = {}
    limit = trio.CapacityLimiter(AT_ONCE)
    finished = 0

    def one_more() -> None:
        nonlocal finished
        finished += 1
        done(finished / (len(peers_of_demo) * peers_of_demo[0].config.round.rounds))

    async def one(demo_peer: DemoPeer) -> None:
        async with limit:
            losses[demo_peer.name] = await _train(demo_peer, log, one_more)

    async with trio.open_nursery() as nursery:
        for demo_peer in peers_of_demo:
            nursery.start_soon(one, demo_peer)
    return losses


async def _train(demo_peer: DemoPeer, log: Path, one_more: Callable[[], None]) -> float:
    learner = LearnerProcess(log)
    to_us, answers = trio.open_memory_channel[Answer | str](math.inf)

    async def ask(request: Request) -> Answer:
        learner.ask(request)
        async for answer in answers:
            if isinstance(answer, str | Failed):
                why = answer if isinstance(answer, str) else answer.why
                raise UserMistake(f"training {demo_peer.name} alone failed: {why}")
            if not isinstance(answer, Progress):
                return answer
        raise AssertionError("the channel is never closed")

    def lost(why: str, _: bool) -> None:
        to_us.send_nowait(why)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(learner.run, to_us.send_nowait, lost)
        opened = await ask(Open(request=0, config=demo_peer.config.learner(), snapshot=None))
        assert isinstance(opened, Opened), "an answer answers its question"
        for round_ in range(demo_peer.config.round.rounds):
            steps = demo_peer.config.round.steps
            units = _window(opened, round_)
            trained = await ask(Train(request=round_ + 1, round=round_, steps=steps, units=units))
            assert isinstance(trained, Trained), "an answer answers its question"
            one_more()
        merged = await ask(Merge(request=-1, row=(1.0,), updates=()))
        assert isinstance(merged, Merged), "an answer answers its question"
        nursery.cancel_scope.cancel()
    return merged.test_merged


def _window(opened: Opened, round_: int) -> bytes:
    """The bitmap of the units that are trained in this round; empty for all."""
    if not opened.window:
        return b""
    schema = Schema(opened.units, opened.codec)
    first = round_robin(round_, opened.layers - opened.window + 1)
    blocks = (-1, *range(first, first + opened.window))
    chosen = [unit for unit in schema.indices(opened.offer) if opened.units[unit].layer in blocks]
    return schema.offer(chosen, opened.offer.rank).units
