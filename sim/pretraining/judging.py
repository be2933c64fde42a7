"""What the runs of a comparison come to: an arm's loss over that of one process, and its bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import msgspec

from sim.experiments.measuring.metrics import RunMetrics
from sim.pretraining.arms import ARMS, PretrainConfig
from sim.pretraining.one_process import OneResult
from sim.pretraining.scenario import gradient_bytes

EACH_STEP: Final = "one, large batches"
SMALL_STEPS: Final = "one, small batches"


class ArmResult(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table. Losses are in nats a token, as means over peers of their own test windows; `worst` is the
    largest of a peer. `over` is the loss over the lower of one process's two. `sent_bytes` are those that a peer sent
    on average, `fewer` how many times fewer than with gradients averaged in each step; None where nothing is sent."""

    name: str
    about: str
    loss: float
    worst: float
    over: float
    sent_bytes: float
    fewer: float | None
    rounds: float


def judged(
    config: PretrainConfig, one: Mapping[str, OneResult], arms: Mapping[str, RunMetrics]
) -> list[ArmResult]:
    """The rows, one process first. `one` has the two of one process."""
    least = min(result.loss for result in one.values())
    whole = gradient_bytes(config, one[EACH_STEP].parameters)
    lone = {
        EACH_STEP: ("the same as averaging gradients in each step", whole, 1.0),
        SMALL_STEPS: ("half the batch, twice the steps", 0.0, None),
    }
    rows = [
        ArmResult(
            name=name,
            about=about,
            loss=one[name].loss,
            worst=one[name].loss,
            over=one[name].loss / least,
            sent_bytes=sent,
            fewer=fewer,
            rounds=0,
        )
        for name, (about, sent, fewer) in lone.items()
    ]
    return [*rows, *(_row(name, run, least, whole) for name, run in arms.items())]


def _row(name: str, run: RunMetrics, least: float, whole: float) -> ArmResult:
    losses = [math.log(one.after) for one in run.peers if one.after is not None]
    loss = math.fsum(losses) / len(losses)
    sent = math.fsum(sum(one.sent.values()) for one in run.peers) / len(run.peers)
    merges = name != "alone"
    return ArmResult(
        name=name,
        about=ARMS[name].about,
        loss=loss,
        worst=max(losses),
        over=loss / least,
        sent_bytes=sent if merges else 0.0,
        fewer=whole / sent if merges and sent else None,
        rounds=math.fsum(one.rounds for one in run.peers) / len(run.peers),
    )
