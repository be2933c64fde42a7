"""Scores of written answers, computed by the libraries that published work uses, with a signature of each computation.

The libraries are the optional extra `eval`. All scores are in per cent.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from gossipllm.tasks.catalogue import Metric
from trust.errors import UserMistake
from trust.extras import install_command

_LIBRARIES: Final[dict[Metric, tuple[str, str]]] = {
    "rouge": ("rouge_score", "rouge-score"),
    "bleu": ("sacrebleu", "sacrebleu"),
    "chrf": ("sacrebleu", "sacrebleu"),
    "bertscore": ("bert_score", "bert-score"),
}
"""Metric -> module that is imported, distribution that is installed."""

_ROUGE: Final = {"rouge1": "rouge_1", "rouge2": "rouge_2", "rougeL": "rouge_l"}


@dataclass(frozen=True, slots=True)
class BertModel:
    """The model whose hidden states BERTScore compares: a hub name or folder, and the layer; None for the layer that
    bert-score chose for a model that it knows."""

    name: str = "roberta-large"
    layer: int | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores in per cent by name, and the library's signature of the computation by metric."""

    scores: dict[str, float]
    signatures: dict[str, str]


def check_libraries(metrics: Sequence[Metric]) -> None:
    """Raises `UserMistake` where a metric's library is not installed. Imports no library."""
    for metric in metrics:
        module, distribution = _LIBRARIES.get(metric, ("", ""))
        if module and importlib.util.find_spec(module) is None:
            raise UserMistake(
                f"{metric} needs {distribution}, which is not installed; run: {install_command('eval')}, "
                f"or choose other --metrics"
            )


def rouge(written: Sequence[str], references: Sequence[Sequence[str]]) -> Scored:
    """ROUGE-1, 2 and L (Lin 2004): mean F1 over examples, each against its best reference.

    The library splits words at everything but a to z and digits; chrF suits other languages better.
    """
    from rouge_score import rouge_scorer  # pyright: ignore[reportMissingTypeStubs]

    scorer: Any = rouge_scorer.RougeScorer(list(_ROUGE), use_stemmer=False)
    found: list[Any] = [
        scorer.score_multi(list(own), text) for text, own in zip(written, references, strict=True)
    ]
    scores = {
        name: 100 * float(np.mean([one[kind].fmeasure for one in found])) for kind, name in _ROUGE.items()
    }
    signature = f"F1|best of references|no stemming|rouge-score:{version('rouge-score')}"
    return Scored(scores, {"rouge": signature})


def bleu(written: Sequence[str], references: Sequence[Sequence[str]]) -> Scored:
    """Corpus BLEU (Papineni et al. 2002; Post 2018, 1804.08771). Examples may differ in their number of references."""
    from sacrebleu.metrics.bleu import BLEU

    return _of_corpus("bleu", BLEU(), written, references)


def chrf(written: Sequence[str], references: Sequence[Sequence[str]]) -> Scored:
    """Corpus chrF2 (Popovic 2015). Examples may differ in their number of references."""
    from sacrebleu.metrics.chrf import CHRF

    return _of_corpus("chrf", CHRF(), written, references)


def bertscore(
    written: Sequence[str], references: Sequence[Sequence[str]], model: BertModel, *, batch: int
) -> Scored:
    """Mean F1 of BERTScore (Zhang et al. 2020, 1904.09675), each answer against its best reference, not rescaled.

    An empty answer counts 0. Raises `UserMistake` where the model cannot be loaded.
    """
    scorer = _bert_scorer(model, batch)
    filled = [index for index, text in enumerate(written) if text.strip()]
    total = 0.0
    if filled:
        _, _, f1 = scorer.score([written[i] for i in filled], [list(references[i]) for i in filled])
        total = float(f1.double().sum())
    return Scored({"bertscore": 100 * total / len(written)}, {"bertscore": scorer.hash})


def _of_corpus(name: str, metric: Any, written: Sequence[str], references: Sequence[Sequence[str]]) -> Scored:
    most = max(len(own) for own in references)
    streams = [[own[k] if k < len(own) else None for own in references] for k in range(most)]
    score = float(metric.corpus_score(list(written), streams).score)
    return Scored({name: score}, {name: str(metric.get_signature())})


def _bert_scorer(model: BertModel, batch: int) -> Any:
    from bert_score import BERTScorer  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]
    from bert_score.utils import (  # pyright: ignore[reportMissingTypeStubs]
        model2layers,  # pyright: ignore[reportUnknownVariableType]
    )

    place = Path(model.name).expanduser()
    if model.name.startswith(("/", ".", "~")) and not place.is_dir():
        raise UserMistake(f"--bert: there is no folder {model.name}")
    if model.layer is None and model.name not in model2layers:
        raise UserMistake(f"--bert-layer: bert-score knows no best layer of {model.name}; give its number")
    make: Any = BERTScorer
    try:
        scorer = make(
            model_type=str(place) if place.is_dir() else model.name, num_layers=model.layer, batch_size=batch
        )
    except (OSError, ValueError, AssertionError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserMistake(f"--bert: {model.name} cannot be used: {reason}") from None
    # A tokenizer without a limit cuts nothing, and the model fails on texts longer than its positions. Two positions
    # less, because models of RoBERTa's kind begin to count at two.
    tokenizer: Any = scorer._tokenizer  # noqa: SLF001
    config: Any = scorer._model.config  # noqa: SLF001
    positions = getattr(config, "max_position_embeddings", None) or 512
    tokenizer.model_max_length = min(tokenizer.model_max_length, positions - 2)
    return scorer
