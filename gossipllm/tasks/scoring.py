"""The scores of one model, with or without an adapter, on the examples of a task or on plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gossipllm.model.loading.models import Base
from gossipllm.tasks.catalogue import Metric
from gossipllm.tasks.examples import Choose, Example, Generate, prompt_targets
from gossipllm.tasks.generation import answers, room
from gossipllm.tasks.likelihood import Likelihood, choices_made, overlapping, sample_nats
from gossipllm.tasks.metrics import BertModel, Scored, bertscore, bleu, chrf, rouge
from gossipllm.text.dealing.categories import Tokens
from gossipllm.text.reading.corpus import Document
from gossipllm.text.samples import encoded, encoded_prompts, fitted
from gossipllm.text.tokens import document_tokens
from gossipllm.text.windows import targets
from trust.errors import UserMistake
from trust.progress import Stages

_BY_TEXT: tuple[Metric, ...] = ("rouge", "bleu", "chrf", "bertscore")
"""Metrics of written answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """Which metrics to compute, and how answers are written."""

    metrics: tuple[Metric, ...]
    new_tokens: int
    batch: int
    one_line: bool
    bert: BertModel


@dataclass(frozen=True, slots=True)
class EvaluationScores:
    """One model's scores by name, in the order of the metrics; the answers written or chosen, by example; and how many
    prompts or samples were longer than the model can read and were cut."""

    scores: dict[str, float]
    signatures: dict[str, str]
    answers: tuple[str, ...] = ()
    cut: int = 0


def on_examples(
    base: Base, examples: Sequence[Example], measures: EvaluationConfig, stages: Stages, name: str
) -> EvaluationScores:
    """The scores that `measures` asks for. `name` is the model's name, shown with the progress."""
    scores: dict[str, float] = {}
    signatures: dict[str, str] = {}
    asked = [one for one in examples if isinstance(one, Generate)]
    choices = [one for one in examples if isinstance(one, Choose)]
    written: list[str] = []
    cut = 0
    if asked and any(metric in _BY_TEXT for metric in measures.metrics):
        written, cut = _written(base, asked, measures, stages, name)
    for metric in measures.metrics:
        if metric == "perplexity":
            found, long = _likelihood(base, examples, stages, name)
            scores |= _numbers(found)
            cut = max(cut, long)
        elif metric == "accuracy":
            written, accuracies = _chosen(base, choices, stages, name)
            scores |= accuracies
        else:
            scored = _scored(metric, written, [one.references for one in asked], measures, stages, name)
            scores |= scored.scores
            signatures |= scored.signatures
    return EvaluationScores(scores, signatures, tuple(written), cut)


def on_text(
    base: Base, documents: Sequence[Document], *, window_tokens: int, stages: Stages, name: str
) -> EvaluationScores:
    """Perplexity and bits per byte of the text that bears loss, each token predicted from at most `window_tokens` - 1
    tokens before it. Raises `UserMistake` where none does."""
    stream = _stream(documents, base)
    if not targets(stream):
        raise UserMistake("--data: holds no answer to measure; measure questions too, with --loss all")
    pieces = overlapping(stream, window_tokens)
    done = stages.begin(f"{name}: reading", len(pieces))
    nats = sample_nats(base, pieces, done)
    size = sum(map(_bytes_measured, documents))
    return EvaluationScores(_numbers(Likelihood(sum(nats), int(targets(stream)), size)), {})


def _bytes_measured(document: Document) -> int:
    spans = ((0, len(document.text)),) if document.answers is None else document.answers
    return sum(len(document.text[start:end].encode()) for start, end in spans)


def _stream(documents: Sequence[Document], base: Base) -> Tokens:
    """The tokens of all documents. One before them is not measured, so that the first of the text can be."""
    (before,) = encoded_prompts([""], base.tokenizer)
    tokens = np.concatenate(list(document_tokens(documents, base.tokenizer)))
    return tokens if len(before) and tokens[0] == ~before[0] else np.concatenate([before, tokens])


def _numbers(found: Likelihood) -> dict[str, float]:
    return {
        "perplexity": found.perplexity,
        "bits_per_byte": found.bits_per_byte,
        "tokens": found.tokens,
    }


def _written(
    base: Base, asked: Sequence[Generate], measures: EvaluationConfig, stages: Stages, name: str
) -> tuple[list[str], int]:
    prompts = [one.prompt for one in asked]
    written = answers(
        base,
        prompts,
        new_tokens=measures.new_tokens,
        batch=measures.batch,
        one_line=measures.one_line,
        done=stages.begin(f"{name}: writing", len(prompts)),
    )
    most = room(base, measures.new_tokens)
    return written, sum(len(ids) > most for ids in encoded_prompts(prompts, base.tokenizer))


def _likelihood(base: Base, examples: Sequence[Example], stages: Stages, name: str) -> tuple[Likelihood, int]:
    """The likelihood of all references, and how many samples were cut. The bytes of a cut target count in proportion to
    the tokens that are left."""
    wanted = prompt_targets(examples)
    whole = encoded(wanted, base.tokenizer)
    samples = [fitted(one, base.context_length) for one in whole]
    nats = sample_nats(base, samples, stages.begin(f"{name}: reading", len(samples)))
    tokens = size = 0.0
    for pair, one, kept in zip(wanted, whole, samples, strict=True):
        tokens += int(targets(kept))
        size += len(pair.target.encode()) * (kept >= 0).sum() / (one >= 0).sum()
    return Likelihood(sum(nats), int(tokens), round(size)), sum(
        len(one) > base.context_length for one in whole
    )


def _chosen(
    base: Base, examples: Sequence[Choose], stages: Stages, name: str
) -> tuple[list[str], dict[str, float]]:
    total = sum(len(one.choices) for one in examples)
    made = choices_made(base, examples, stages.begin(f"{name}: choosing", total))
    right = np.array(
        [
            (whole == one.right, by_byte == one.right)
            for one, (whole, by_byte) in zip(examples, made, strict=True)
        ]
    )
    shares = 100 * right.mean(axis=0)
    chosen = [one.choices[whole] for one, (whole, _) in zip(examples, made, strict=True)]
    return chosen, {"accuracy": float(shares[0]), "accuracy_by_byte": float(shares[1])}


def _scored(
    metric: Metric,
    written: Sequence[str],
    references: Sequence[Sequence[str]],
    measures: EvaluationConfig,
    stages: Stages,
    name: str,
) -> Scored:
    match metric:
        case "rouge":
            return rouge(written, references)
        case "bleu":
            return bleu(written, references)
        case "chrf":
            return chrf(written, references)
        case "bertscore":
            done = stages.begin(f"{name}: comparing", len(written))
            found = bertscore(written, references, measures.bert, batch=measures.batch)
            done(len(written))
            return found
        case "accuracy" | "perplexity":
            raise ValueError(f"{metric} is no metric of written answers")
