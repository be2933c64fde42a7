"""One run of `token_weighting.py` in a worker process: peers that average, or one learner on the text of all peers."""

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
from gossipllm.tasks.metrics import BertModel, bertscore, rouge
from gossipllm.tasks.mounting import snapshot_on
from gossipllm.text.samples import padding_id
from gossipllm.text.windows import Splits, Windows, targets
from gossipllm.work import Answer, Failed, Merge, Merged, Open, Opened, Request, Train, Trained
from sim.experiments.configurations import learner_config
from sim.experiments.measuring.metrics import perplexity
from sim.experiments.methods import method_named
from sim.experiments.run import simulate
from sim.experiments.scenarios import Scenario
from sim.experiments.shares import shares_of
from trust.errors import UserMistake
from wire.digest import fingerprint_of

BASELINES: Final = ("local", "centralised", "fedavg")
PEERS: Final = 3
LABEL: Final = "gossipllm/benchmarks/token_weighting/1"
_NEW_TOKENS: Final = 48
"""Longest answer. Longer answers of so small a model repeat themselves."""
_BATCH: Final = 32
"""Answers written, or compared by BERTScore, in one pass. Guess."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The measures of one run. `perplexities` are the peers', `pooled` is that of their text together; ROUGE-L and
    BERTScore, None where no BERT was given, are in per cent. `configuration` is a digest of the run's settings."""

    configuration: str
    name: str
    seed: int
    perplexities: tuple[float, ...]
    pooled: float
    rouge_l: float
    bertscore: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What to run and measure. `name` is a baseline or an alpha; BERTScore is measured where `bert` is given."""

    partition: str
    name: str
    seed: int
    scenario: Scenario
    tests: tuple[str, ...]
    prompts: int
    bert: BertModel | None = None

    @property
    def configuration(self) -> str:
        parts = (commented_toml(self.scenario), self.name, str(self.seed), *self.tests, str(self.prompts))
        if self.bert is not None:  # results that were measured without one stay valid
            parts += (self.bert.name, str(self.bert.layer))
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
        # After a merge by plain averaging all peers have the same adapter.
        snapshots = snapshots if method == "local" else snapshots[:1]
    weights = _test_targets(run.scenario, run.seed)
    base = load_base(ModelConfig(threads=1))
    scores = [_scores(base, snapshot, run) for snapshot in snapshots]
    return Result(
        configuration=run.configuration,
        name=run.name,
        seed=run.seed,
        perplexities=tuple(perplexities),
        pooled=_pooled(perplexities, weights),
        rouge_l=statistics.fmean(one["rouge_l"] for one in scores),
        bertscore=statistics.fmean(one["bertscore"] for one in scores) if run.bert else None,
    )


def _centralised(
    scenario: Scenario, seed: int, advanced: Callable[[int], None]
) -> tuple[list[float], list[bytes]]:
    config = learner_config(scenario, method_named("local"), seed, 0)
    rounds = PEERS * scenario.round.rounds
    training = replace(config.training, decay_steps=PEERS * scenario.steps)
    config = replace(config, training=training)
    pool = LearnerPool(config, lambda _phase, _step: None)
    shares = shares_of(scenario, seed, pool)
    splits = _together([share.splits for share in shares], padding_id(pool.base.tokenizer))
    learner = pool.new_learner(config, splits)
    _ask(pool, learner, Open(request=0, config=config, snapshot=None), Opened)
    for round_ in range(rounds):
        _ask(pool, learner, Train(request=round_ + 1, round=round_, steps=scenario.round.steps), Trained)
        advanced(round_ + 1)
    whole = _ask(pool, learner, Merge(request=rounds + 1, row=(1.0,), updates=()), Merged).snapshot
    perplexities = [
        perplexity(
            _ask(
                pool,
                pool.new_learner(config, share.splits),
                Open(request=0, config=config, snapshot=whole),
                Opened,
            ).test_loss
        )
        for share in shares
    ]
    return perplexities, [whole.data]


A = TypeVar("A", bound=Answer)


def _ask(pool: LearnerPool, learner: Learner, request: Request, kind: type[A]) -> A:
    (answer,) = pool.answer([(learner, request)])
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


def _scores(base: Base, snapshot: bytes, run: Run) -> dict[str, float]:
    """ROUGE-L, and BERTScore where a BERT is given, of one adapter's answers; means over the tasks."""
    by_task: list[dict[str, float]] = []
    with snapshot_on(base, decode_snapshot(snapshot)):
        for source in run.tests:
            found = sample_source(source)
            assert found is not None, "the tests are of tasks"
            examples = read_examples(found, base.tokenizer, key="--data")
            asked = [one for one in examples if isinstance(one, Generate)][: run.prompts]
            references = [one.references for one in asked]
            written = answers(
                base,
                [one.prompt for one in asked],
                new_tokens=_NEW_TOKENS,
                batch=_BATCH,
                one_line=TASKS[found.task].one_line,
                done=lambda _: None,
            )
            scores = {"rouge_l": rouge(written, references).scores["rouge_l"]}
            if run.bert is not None:
                scores |= bertscore(written, references, run.bert, batch=_BATCH).scores
            by_task.append(scores)
    return {name: statistics.fmean(scores[name] for scores in by_task) for name in by_task[0]}
