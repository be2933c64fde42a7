"""What the runs of a comparison come to: an arm's loss over that of one process, and its bytes.

Of the runs of an arm at several learning rates the one of least loss on the trust splits counts, and so of one process:
what is reported, the loss on the test splits, chooses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec

from sim.experiments.measuring.metrics import RunMetrics
from sim.pretraining.arms import ARMS, PretrainConfig
from sim.pretraining.one_process import OneResult
from sim.pretraining.scenario import gradient_bytes

EACH_STEP: Final = "one, large batches"
SMALL_STEPS: Final = "one, small batches"

R = TypeVar("R")


class ArmResult(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table. `rate` is the learning rate that was chosen. Losses are in nats a token, as means over peers
    of their own test windows; `worst` is the largest of a peer. `over` is the loss over the lower of one process's two,
    `over_each` over that with gradients averaged in each step. `sent_bytes` are those that a peer sent on average,
    `fewer` how many times fewer than with averaged gradients; None where nothing is sent."""

    name: str
    about: str
    rate: float
    loss: float
    worst: float
    over: float
    over_each: float
    sent_bytes: float
    fewer: float | None
    rounds: float


def judged(
    config: PretrainConfig,
    one: Mapping[str, Mapping[float, OneResult]],
    arms: Mapping[str, Mapping[float, RunMetrics]],
) -> list[ArmResult]:
    """The rows, one process first. `one` has the two of one process; each is by learning rate."""
    lone_best = {name: _best(tried, lambda result: result.trust_loss) for name, tried in one.items()}
    least = min(result.loss for _, result in lone_best.values())
    each_step = lone_best[EACH_STEP][1]
    whole = gradient_bytes(config, each_step.parameters)
    lone = {
        EACH_STEP: ("the same as averaging gradients in each step", whole, 1.0),
        SMALL_STEPS: ("half the batch, twice the steps", 0.0, None),
    }
    rows = [
        ArmResult(
            name=name,
            about=about,
            rate=lone_best[name][0],
            loss=lone_best[name][1].loss,
            worst=lone_best[name][1].loss,
            over=lone_best[name][1].loss / least,
            over_each=lone_best[name][1].loss / each_step.loss,
            sent_bytes=sent,
            fewer=fewer,
            rounds=0,
        )
        for name, (about, sent, fewer) in lone.items()
    ]
    for name, tried in arms.items():
        rate, run = _best(tried, _trust_loss)
        rows.append(_row(name, rate, run, least=least, each_step=each_step.loss, whole=whole))
    return rows


def _best(tried: Mapping[float, R], trust_loss: Callable[[R], float]) -> tuple[float, R]:
    return min(tried.items(), key=lambda item: trust_loss(item[1]))


def _trust_loss(run: RunMetrics) -> float:
    """After the last merge of each peer, a mean over peers."""
    losses = [one.course[-1].trust_merged for one in run.peers if one.course]
    return math.fsum(losses) / len(losses) if losses else math.inf


def _row(
    name: str, rate: float, run: RunMetrics, *, least: float, each_step: float, whole: float
) -> ArmResult:
    losses = [math.log(one.after) for one in run.peers if one.after is not None]
    loss = math.fsum(losses) / len(losses)
    sent = math.fsum(sum(one.sent.values()) for one in run.peers) / len(run.peers)
    merges = name != "alone"
    return ArmResult(
        name=name,
        about=ARMS[name].about,
        rate=rate,
        loss=loss,
        worst=max(losses),
        over=loss / least,
        over_each=loss / each_step,
        sent_bytes=sent if merges else 0.0,
        fewer=whole / sent if merges and sent else None,
        rounds=math.fsum(one.rounds for one in run.peers) / len(run.peers),
    )
