"""What a learner forgets of one language while it learns another, and what keeps it.

    python benchmarks/forgetting.py [--base embedded-small] [--seeds 0,1]

A learner reads French for 8 rounds of 20 steps, and goes on with German for as many. For each way to retain, in nats
per token of test text: French before the second phase and after it, German after it; and the forgetting of the
reference set, as it is reported in each round. The dullest way to forget less is to learn less, so the second phase is
also taken at smaller rates: a way to retain is worth something where it reads French better at an equal loss on German.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import Any, Final

import torch

from gossipllm.config import DataConfig, LearnerConfig, ModelConfig, TrainingConfig
from gossipllm.config.choices import Retain
from gossipllm.learning.jobs.jobs import LossJob
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.text.reference import demo_share
from gossipllm.text.windows import Splits, cut, split, tokenise
from gossipllm.work import Failed, Merge, Open, Request, Train
from wire.digest import Content

ROUNDS: Final = 8
STEPS: Final = 20


@dataclass(frozen=True, slots=True)
class Arm:
    name: str
    retain: Retain = "measure"
    strength: float = 1.0
    rate: float = 1.0
    """Factor on the learning rate of the second phase."""


ARMS: Final = (
    Arm("nothing"),
    *(Arm(f"rate x {rate:g}", rate=rate) for rate in (0.5, 0.25, 0.1, 0.05)),
    *(Arm(f"predictions {strength:g}", "predictions", strength) for strength in (0.5, 1.0, 2.0, 4.0, 8.0)),
    *(Arm(f"subspace {strength:g}", "subspace", strength) for strength in (0.5, 0.9, 1.0)),
)


class Reader:
    """A learner of one base that reads one language after another."""

    def __init__(self, base: str, seed: int) -> None:
        data = DataConfig(path="-", window_tokens=48, trust_windows=4, test_fraction=0.2, test_windows=60)
        training = TrainingConfig(learning_rate=1e-2, seed=seed)
        self._config = LearnerConfig(
            model=ModelConfig(name=base, device="cpu", threads=1), data=data, training=training
        )
        self._pool = LearnerPool(self._config, lambda _name, _step: None)
        tokenizer = self._pool.base.tokenizer
        self._splits: dict[str, Splits] = {}
        for language in ("fr", "de"):
            text = demo_share(language, part=seed % 4, of=4)
            windows_WT = cut(tokenise(text.splitlines(), tokenizer), data.window_tokens)
            self._splits[language] = split(windows_WT, data, seed=seed)

    def read(
        self, language: str, arm: Arm, snapshot: Content | None = None
    ) -> tuple[Content, dict[str, float], float | None]:
        """The snapshot at the end, the loss of the test text of both languages, and the last round's forgetting."""
        training = replace(
            self._config.training,
            retain=arm.retain,
            retain_strength=arm.strength,
            learning_rate=self._config.training.learning_rate * arm.rate,
        )
        config = replace(self._config, training=training)
        learner = self._pool.new_learner(config, self._splits[language])
        opened = self._ask(learner, Open(request=1, config=config, snapshot=snapshot))
        forgotten: float | None = None
        for number in range(opened.round + 1, opened.round + 1 + ROUNDS):
            self._ask(learner, Train(request=2, round=number, steps=STEPS))
            forgotten = self._ask(learner, Merge(request=3, row=(1.0,), updates=())).forgotten
        losses: dict[str, float] = {}
        for name, splits in self._splits.items():
            windows_WT = splits.test_WT[: config.data.test_windows]
            ((losses_W,),) = self._pool.perform([LossJob((learner.state,), windows_WT, "test")])
            losses[name] = float(losses_W.mean())
        return learner.snapshot(), losses, forgotten

    def _ask(self, learner: Learner, request: Request) -> Any:
        (reply,) = self._pool.answer([(learner, request)])
        if isinstance(reply, Failed):
            raise SystemExit(reply.why)
        return reply


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--base", default="embedded-small")
    parser.add_argument("--seeds", default="0,1")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for seed in map(int, args.seeds.split(",")):
        reader = Reader(args.base, seed)
        learned, before, _ = reader.read("fr", Arm("first", retain=""))
        print(
            f"\nseed {seed}: after French, French {before['fr']:.3f}, German {before['de']:.3f}", flush=True
        )
        print(f"{'then German with':<18}{'French':>8}{'German':>8}{'forgotten':>11}")
        for arm in ARMS:
            _, after, forgotten = reader.read("de", arm, learned)
            print(f"{arm.name:<18}{after['fr']:>8.3f}{after['de']:>8.3f}{forgotten or 0:>11.3f}", flush=True)


if __name__ == "__main__":
    main()
