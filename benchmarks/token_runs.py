"""One run of `token_weighting.py`, in a process of a pool: peers that average, or one learner on all their text."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import msgspec
import numpy as np
from transformers.utils.logging import disable_progress_bar

from gossipllm.config import ModelConfig
from gossipllm.config.toml import commented_toml
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.model.adapter.snapshots import decode_snapshot
from gossipllm.model.loading.models import Base, load_base
from gossipllm.tasks.catalogue import TASKS, read_examples, sample_source
from gossipllm.tasks.examples import Generate
from gossipllm.tasks.generation import answers
from gossipllm.tasks.metrics import rouge
from gossipllm.tasks.mounting import snapshot_on
from gossipllm.text.samples import padding_id
from gossipllm.text.windows import Splits, Windows, targets
from gossipllm.work import Answer, Failed, Merge, Merged, Open, Opened, Request, Train, Trained
from sim.experiments.configurations import learner_config
from sim.experiments.methods import method_named
from sim.experiments.metrics import perplexity
from sim.experiments.run import shares_of, simulate
from sim.experiments.scenarios import Scenario
from trust.errors import UserMistake
from wire.digest import fingerprint_of

BASELINES: Final = ("local", "centralised", "fedavg")
PEERS: Final = 3
LABEL: Final = "gossipllm/benchmarks/token_weighting/1"
_NEW_TOKENS: Final = 48
"""Of an answer. Longer ones of so small a model repeat themselves."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `perplexities` are the peers', `pooled` that of their text together, ROUGE-L is in per cent;
    `configuration` is a digest of what the run was told."""

    configuration: str
    name: str
    seed: int
    perplexities: tuple[float, ...]
    pooled: float
    rouge_l: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """`name` is a baseline, or an alpha."""

    partition: str
    name: str
    seed: int
    scenario: Scenario
    tests: tuple[str, ...]
    prompts: int

    @property
    def configuration(self) -> str:
        parts = (commented_toml(self.scenario), self.name, str(self.seed), *self.tests, str(self.prompts))
        return fingerprint_of(LABEL, [part.encode() for part in parts]).hex()


def perform(run: Run, advanced: Callable[[int], None]) -> Result:
    disable_progress_bar()  # of loading
    if run.name == "centralised":
        perplexities, snapshots = _centralised(run.scenario, run.seed, advanced)
    else:
        method = run.name if run.name in BASELINES else "tokens"
        outcome = simulate(run.scenario, method, run.seed, on_rounds=advanced)
        perplexities = [one.after or math.nan for one in outcome.metrics.peers]
        snapshots = [one.data for one in outcome.snapshots if one is not None]
        # Behind a merge all are one.
        snapshots = snapshots if method == "local" else snapshots[:1]
    weights = _test_targets(run.scenario, run.seed)
    base = load_base(ModelConfig(threads=1))
    return Result(
        configuration=run.configuration,
        name=run.name,
        seed=run.seed,
        perplexities=tuple(perplexities),
        pooled=_pooled(perplexities, weights),
        rouge_l=statistics.fmean(_rouge_l(base, snapshot, run) for snapshot in snapshots),
    )


def _centralised(
    scenario: Scenario, seed: int, advanced: Callable[[int], None]
) -> tuple[list[float], list[bytes]]:
    config = learner_config(scenario, method_named("local"), seed, 0)
    rounds = PEERS * scenario.round.rounds
    training = replace(config.training, decay_steps=PEERS * scenario.steps)
    config = replace(config, training=training)
    crew = LearnerPool(config, lambda _phase, _step: None)
    shares = shares_of(scenario, seed, crew)
    splits = _together([share.splits for share in shares], padding_id(crew.base.tokenizer))
    learner = crew.hire(config, splits)
    _ask(crew, learner, Open(request=0, config=config, snapshot=None), Opened)
    for round_ in range(rounds):
        _ask(crew, learner, Train(request=round_ + 1, round=round_, steps=scenario.round.steps), Trained)
        advanced(round_ + 1)
    whole = _ask(crew, learner, Merge(request=rounds + 1, row=(1.0,), updates=()), Merged).snapshot
    perplexities = [
        perplexity(
            _ask(
                crew,
                crew.hire(config, share.splits),
                Open(request=0, config=config, snapshot=whole),
                Opened,
            ).test_loss
        )
        for share in shares
    ]
    return perplexities, [whole.data]


A = TypeVar("A", bound=Answer)


def _ask(crew: LearnerPool, learner: Learner, request: Request, kind: type[A]) -> A:
    (answer,) = crew.answer([(learner, request)])
    if isinstance(answer, Failed):
        raise UserMistake(f"the centralised learner: {answer.why}")
    assert isinstance(answer, kind), "an answer answers its question"
    return answer


def _together(splits: Sequence[Splits], pad: int) -> Splits:
    """All windows of all peers, filled up to the longest."""
    length = max(one.train_WT.shape[1] for one in splits)

    def joined(windows: Sequence[Windows]) -> Windows:
        return np.concatenate(
            [np.pad(one, ((0, 0), (0, length - one.shape[1])), constant_values=~pad) for one in windows]
        )

    return Splits(
        joined([one.train_WT for one in splits]),
        joined([one.trust_WT for one in splits]),
        joined([one.test_WT for one in splits]),
    )


def _test_targets(scenario: Scenario, seed: int) -> list[int]:
    """Tokens of each peer's test text that bear loss."""
    config = learner_config(scenario, method_named("local"), seed, 0)
    shares = shares_of(scenario, seed, LearnerPool(config, lambda _phase, _step: None))
    return [int(targets(share.splits.test_WT).sum()) for share in shares]


def _pooled(perplexities: Sequence[float], weights: Sequence[int]) -> float:
    losses = (weight * math.log(one) for weight, one in zip(weights, perplexities, strict=True))
    return math.exp(math.fsum(losses) / sum(weights))


def _rouge_l(base: Base, snapshot: bytes, run: Run) -> float:
    """Mean over the tasks."""
    scores: list[float] = []
    with snapshot_on(base, decode_snapshot(snapshot)):
        for source in run.tests:
            found = sample_source(source)
            assert found is not None, "the tests are of tasks"
            examples = read_examples(found, base.tokenizer, key="--data")
            asked = [one for one in examples if isinstance(one, Generate)][: run.prompts]
            written = answers(
                base,
                [one.context for one in asked],
                new_tokens=_NEW_TOKENS,
                batch=32,
                one_line=TASKS[found.task].one_line,
                done=lambda _: None,
            )
            scores.append(rouge(written, [one.references for one in asked]).scores["rouge_l"])
    return statistics.fmean(scores)
