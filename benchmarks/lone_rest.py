"""A peer left alone: does it end at its best state, and which schedule of the rate is the best?

    python benchmarks/lone_rest.py                                  100 rounds, on text that the package ships
    python benchmarks/lone_rest.py --sources fr.txt de.txt it.txt   on other text
    python benchmarks/lone_rest.py --rounds 60 --seeds 0 1 --rates 0.002 0.005

Every peer trains alone on its own text, once without end and once with each schedule of `[settle]`, from the same
start and on the same batches. For each, in perplexity on the test split, means over peers and seeds:

    best        after the local steps of least trust loss, which is what a peer without foresight could have stopped at
    end         after the last round, or at rest; lower where the average of such states is better than each of them
    end/best    the ratio; the worst peer's is in the next column
    test best   at the round of least test loss, which nobody can know; it is below what any rule reaches, by chance too
    rounds      with local steps, until rest
    tokens      thousands through the model for training and for decisions, forward and backward, of a peer

The dullest explanation of a schedule's lower perplexity is a rate that was too high to begin with, so each is run at
several rates, and the constant one too; and without the average, to see which of the two does what. --batches are
windows of 64 tokens; a round has as many tokens with each, so that the steps are fewer in larger ones.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from statistics import mean
from typing import Final

from gossipllm.config import ModelConfig, TrainingConfig
from gossipllm.text.dealing.partitions import PartitionConfig
from peers.core.config import RoundConfig
from peers.core.plateau import NEVER_SETTLES, SettleConfig
from sim.experiments.run import simulate
from sim.experiments.scenarios import Scenario, TextConfig
from trust.record.history import Round

SCHEDULES: Final = {
    "without end": NEVER_SETTLES,
    "constant": SettleConfig(schedule="constant"),
    "constant, no average": SettleConfig(schedule="constant", average=False),
    "decay": SettleConfig(schedule="decay"),
    "decay, no average": SettleConfig(schedule="decay", average=False),
    "restarts": SettleConfig(schedule="restarts"),
}


@dataclass(frozen=True, slots=True)
class Lone:
    """One peer's run: test losses at its best round by trust loss, at its end, and at its best round by test loss.
    `tokens` are those of a peer as a mean over peers."""

    best: float
    end: float
    test_best: float
    rounds: int
    tokens: float

    @property
    def ratio(self) -> float:
        return math.exp(self.end - self.best)


def main() -> None:
    options = _options()
    print("batch    rate schedule                best     end end/best   worst test best  rounds  tokens")
    for batch, rate, name in product(options.batches, options.rates, options.schedules):
        settle = NEVER_SETTLES
        if name != "without end":
            settle = replace(SCHEDULES[name], patience=options.patience)
        runs = [lone for seed in options.seeds for lone in _alone(options, batch, rate, settle, seed)]
        print(f"{batch:>5} {rate:>7g} {name:<20} {_line(runs)}", flush=True)


def _line(runs: Sequence[Lone]) -> str:
    best, end, test_best = (
        mean(math.exp(loss) for loss in losses)
        for losses in zip(*((one.best, one.end, one.test_best) for one in runs), strict=True)
    )
    ratios = [one.ratio for one in runs]
    rounds, tokens = mean(one.rounds for one in runs), mean(one.tokens for one in runs)
    return (
        f"{best:7.2f} {end:7.2f} {mean(ratios):8.4f} {max(ratios):7.4f} {test_best:9.2f} {rounds:7.1f} "
        f"{tokens / 1e3:7.0f}"
    )


def _alone(
    options: argparse.Namespace, batch: int, rate: float, settle: SettleConfig, seed: int
) -> list[Lone]:
    scenario = Scenario(
        peers=options.peers,
        seeds=(seed,),
        methods=("local",),
        anneal=False,
        model=ModelConfig(name=options.model),
        data=TextConfig(
            sources=tuple(options.sources),
            trust_windows=16,
            test_windows=24,
            partition=PartitionConfig(
                kind="exclusive", train_tokens=options.tokens, trust_tokens=1024, test_tokens=2048
            ),
        ),
        round=RoundConfig(steps=max(1, round(4 * options.steps / batch)), rounds=options.rounds),
        settle=settle,
        training=TrainingConfig(batch_windows=batch, learning_rate=rate),
    )
    outcome = simulate(scenario, "local", seed)
    by_peer: dict[str, list[Round]] = {}
    for entry in outcome.entries:
        if isinstance(entry.record, Round):
            by_peer.setdefault(entry.record.peer, []).append(entry.record)
    passes = (*outcome.metrics.forward.items(), *outcome.metrics.backward.items())
    tokens = sum(count for purpose, count in passes if purpose != "test") / options.peers
    return [_lone(rounds, tokens) for rounds in by_peer.values()]


def _lone(rounds: Sequence[Round], tokens: float) -> Lone:
    trained = [one for one in rounds if one.steps]
    best = min(trained, key=lambda one: one.trust_alone)
    return Lone(
        best=best.test_alone,
        end=rounds[-1].test_merged,
        test_best=min(one.test_alone for one in trained),
        rounds=len(trained),
        tokens=tokens,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sources", nargs="+", default=["embedded:fr", "embedded:de", "embedded:it"])
    parser.add_argument("--model", default=ModelConfig().name)
    parser.add_argument("--peers", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=10_240, help="of each peer's text")
    parser.add_argument("--steps", type=int, default=20, help="of a round with batches of four windows")
    parser.add_argument("--batches", type=int, nargs="+", default=[4])
    parser.add_argument("--rounds", type=int, default=100, help="without end; at most until rest")
    parser.add_argument("--patience", type=int, default=SettleConfig().patience)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rates", type=float, nargs="+", default=[TrainingConfig().learning_rate])
    parser.add_argument("--schedules", nargs="+", choices=SCHEDULES, default=list(SCHEDULES))
    return parser.parse_args()


if __name__ == "__main__":
    main()
