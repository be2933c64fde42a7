"""A peer as `gossipllm plan` would have it, against the default settings: tokens a second and loss a token, in turns.

    python benchmarks/planned_peer.py [--text FILE] [--tokens 57344] [--threads 1]

Two learners of one model and one text take turns, each with its own batch, and their times are added up apart, so that
other programs disturb both alike. After the same tokens both losses are printed, and how long each took to the loss at
which the default settings end. The dullest explanation of a plan's gain is its rate alone, or its batch alone: a third
learner has the default batch at the rate that the planner's law gives it, a fourth the planned batch at the default
rate. The plan is made by the planner from measured passes. Its law was fitted to French and German.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from transformers.utils.logging import disable_progress_bar

from gossipllm.base import corpus_file
from gossipllm.config import DataConfig, LearnerConfig, ModelConfig, TrainingConfig
from gossipllm.device.plan.planner import DevicePlan, Work, planned
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import together
from gossipllm.learning.shared_model import load_shared_model, load_text
from gossipllm.work import Open, Progress, Train, Trained
from peers.commands.plan.measuring import measured_subject
from peers.home.config import PeerConfig

POINT_TOKENS = 8192
"""Tokens between two measurements of the loss."""


@dataclass
class Run:
    """One learner with its batch; `points` are (seconds of steps, trust loss) after each `POINT_TOKENS`."""

    name: str
    config: LearnerConfig
    learner: Learner
    steps: int
    seconds: float = 0.0
    points: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])

    def go_on(self) -> None:
        request = Train(request=1, round=len(self.points), steps=self.steps)
        (answer,) = together([(self.learner.answer(request, _silent), self.learner)])
        assert isinstance(answer, Trained), answer
        self.seconds += answer.seconds
        self.points.append((self.seconds, answer.trust_loss))

    def reaches_s(self, loss: float) -> float | None:
        """Seconds of steps to this loss, between points along a line."""
        before_s, before = 0.0, float("inf")
        for seconds, now in self.points:
            if now <= loss:
                share = 1.0 if before == float("inf") else (before - loss) / (before - now)
                return before_s + share * (seconds - before_s)
            before_s, before = seconds, now
        return None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--text", type=Path, default=corpus_file("it"))
    parser.add_argument("--tokens", type=int, default=7 * POINT_TOKENS)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    disable_progress_bar()
    peer = PeerConfig(
        data=DataConfig(path=str(arguments.text), trust_windows=24),
        model=ModelConfig(threads=arguments.threads),
    )
    subject = measured_subject(peer, None, seconds=15, tokens=0, on_phase=lambda _phase, _number: None)
    plan = planned(subject.device, subject.work)
    show(plan, subject.measured.points)
    runs = runs_of(peer, plan, subject.work)
    for _ in range(arguments.tokens // POINT_TOKENS):
        for run in runs:
            run.go_on()
    default = runs[0]
    (_, goal), tokens = default.points[-1], len(default.points) * POINT_TOKENS
    print(
        f"{'settings':<32}{'tokens/s':>9}{'ratio':>7}{'loss':>8}{'s to ' + format(goal, '.3f'):>12}{'ratio':>7}"
    )
    for run in runs:
        rate, reached = tokens / run.seconds, run.reaches_s(goal)
        shown = (
            f"{'-':>12}{'-':>7}" if reached is None else f"{reached:>12.1f}{default.seconds / reached:>7.2f}"
        )
        ratio = rate * default.seconds / tokens
        print(f"{run.name:<32}{rate:>9,.0f}{ratio:>7.2f}{run.points[-1][1]:>8.3f}{shown}")


def show(plan: DevicePlan, points: tuple[tuple[int, float], ...]) -> None:
    print("measured:", ", ".join(f"{tokens} tokens in {1e3 * seconds:.0f} ms" for tokens, seconds in points))
    print(f"planned: {plan.batch_windows} windows at {plan.learning_rate:g}, {plan.steps} steps a round")


def runs_of(peer: PeerConfig, plan: DevicePlan, work: Work) -> list[Run]:
    default = TrainingConfig()
    lawful = work.law.rate_at(default.batch_windows * work.window_tokens, width=work.width)
    batch, warm = plan.batch_windows, plan.warmup_steps
    mine = replace(default, batch_windows=batch, learning_rate=plan.learning_rate, warmup_steps=warm)
    variants = {
        f"default ({default.batch_windows} windows)": default,
        f"planned ({batch} windows)": mine,
        f"default batch at {lawful:.2g}": replace(default, learning_rate=lawful),
        f"planned batch at {default.learning_rate:g}": replace(mine, learning_rate=default.learning_rate),
    }
    base = peer.learner()
    shared = load_shared_model(base, lambda _phase, _step: None, alone=True)
    splits = load_text(base, shared.base)
    runs: list[Run] = []
    for name, training in variants.items():
        config = replace(base, training=training)
        learner = Learner(config, shared, splits)
        together([(learner.answer(Open(request=0, config=config, snapshot=None), _silent), learner)])
        steps = max(1, POINT_TOKENS // (training.batch_windows * base.data.window_tokens))
        runs.append(Run(name, config, learner, steps))
    return runs


def _silent(_: Progress) -> None:
    pass


if __name__ == "__main__":
    main()
