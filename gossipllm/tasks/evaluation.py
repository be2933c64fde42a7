"""An evaluation: a base alone and with each of several adapters, all measured on the same examples."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from gossipllm.config import ModelConfig
from gossipllm.config.text import Loss
from gossipllm.model.adapter.source import AdapterSource
from gossipllm.model.loading.models import Base, base_fingerprint, load_tokenizer
from gossipllm.model.loading.progress import load_base_told
from gossipllm.tasks.catalogue import TASKS, Metric, SampleSource, Task, TaskName, read_examples
from gossipllm.tasks.examples import Example
from gossipllm.tasks.metrics import BertModel
from gossipllm.tasks.mounting import folder_on, snapshot_on
from gossipllm.tasks.neighbours import NeighbourAdapter, laid_over
from gossipllm.tasks.results import Evaluation, ModelScores, shown
from gossipllm.tasks.scoring import EvaluationConfig, EvaluationScores, on_examples, on_text
from gossipllm.text.reading.corpus import Document, read_documents
from trust.errors import UserMistake
from trust.progress import Stages
from wire.digest import short
from wire.errors import WireError

_WINDOW: Final = 1024
"""Default length of a window of plain text, where the model can read so much. Guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRequest:
    """What to measure. `limit` counts examples or documents; `window` is the tokens of a window of plain text, 0 for
    the default."""

    task: TaskName
    data: Path
    pair: str
    limit: int
    metrics: tuple[Metric, ...]
    new_tokens: int
    batch: int
    window: int
    loss: Loss
    bert: BertModel
    show: int

    @property
    def about(self) -> Task:
        return TASKS[self.task]


@dataclass(frozen=True, slots=True)
class _Data:
    """The data of an evaluation: documents where the task is plain text, examples otherwise."""

    documents: tuple[Document, ...] = ()
    examples: tuple[Example, ...] = ()


def compared(
    asked: EvaluationRequest,
    config: ModelConfig,
    beside: Sequence[AdapterSource | NeighbourAdapter],
    stages: Stages,
    *,
    left_out: Callable[[str, str], None] = lambda _name, _why: None,
) -> Evaluation:
    """The scores of the base, then of the base with each of `beside`. Raises `UserMistake` for everything that the
    user can repair.

    A neighbour whose update can no longer be read is left out, and `left_out` is told its name and the reason.
    """
    # The data before the model: a wrong file should fail before a model has been loaded for minutes.
    data = _read(asked, load_tokenizer(config.name, "MODEL_OR_HOME"))
    base = load_base_told(config, stages.begin)
    _check(base, asked, beside)
    measured: list[EvaluationScores] = []
    results: list[ModelScores] = []
    for one in (None, *beside):
        began = time.monotonic()
        name = Path(config.name).name if one is None else one.name
        try:
            found = _measured(base, one, asked, data, stages, name)
        except WireError as error:
            left_out(name, f"{error.field}: {error.why}")
            continue
        measured.append(found)
        results.append(
            ModelScores(
                name=name,
                adapter=None
                if one is None
                else one.peer
                if isinstance(one, NeighbourAdapter)
                else str(one.place),
                scores=found.scores,
                cut=found.cut,
                seconds=time.monotonic() - began,
            )
        )
    return Evaluation(
        task=asked.task,
        data=str(asked.data),
        pair=asked.pair,
        model=config.name,
        examples=len(data.documents) + len(data.examples),
        metrics=asked.metrics,
        new_tokens=asked.new_tokens,
        answered=sum(document.answers is not None for document in data.documents),
        results=tuple(results),
        signatures=measured[0].signatures,
        versions={name: version(name) for name in ("gossipllm", "torch", "transformers")},
        shown=shown(data.examples, measured, asked.show),
    )


def _read(asked: EvaluationRequest, tokenizer: Any) -> _Data:
    if asked.task == "text":
        documents = read_documents(str(asked.data), tokenizer, key="--data", loss=asked.loss)
        return _Data(documents=tuple(documents[: asked.limit]))
    source = SampleSource(asked.task, asked.pair, asked.data.expanduser())
    return _Data(examples=read_examples(source, tokenizer, key="--data")[: asked.limit])


def _check(base: Base, asked: EvaluationRequest, beside: Sequence[AdapterSource | NeighbourAdapter]) -> None:
    """Raises `UserMistake` where lengths exceed the model's context length, or a home was trained on another base."""
    if asked.window > base.context_length:
        raise UserMistake(
            f"--window-tokens is {asked.window}, but the model takes at most {base.context_length} tokens"
        )
    if asked.new_tokens >= base.context_length:
        raise UserMistake(
            f"--max-new-tokens is {asked.new_tokens}, but the model takes {base.context_length} tokens with the "
            "question"
        )
    homes = [one for one in beside if isinstance(one, AdapterSource)]
    snapshots = {one.place: one.snapshot for one in homes if one.snapshot is not None}
    here = base_fingerprint(base.model) if snapshots else b""
    for place, snapshot in snapshots.items():
        if snapshot.header.base != here:
            raise UserMistake(
                f"{place} was trained on another base model: {short(snapshot.header.base)} there, {short(here)} here; "
                f"name its own, {snapshot.header.model_name}"
            )


def _measured(
    base: Base,
    beside: AdapterSource | NeighbourAdapter | None,
    asked: EvaluationRequest,
    data: _Data,
    stages: Stages,
    name: str,
) -> EvaluationScores:
    """The scores of the base with one adapter, or alone. Raises `WireError` where a neighbour's update does not fit
    this base."""
    if beside is None:
        mounted = nullcontext()
    elif isinstance(beside, NeighbourAdapter):
        mounted = snapshot_on(base, laid_over(base, beside))
    elif beside.snapshot is not None:
        mounted = snapshot_on(base, beside.snapshot)
    else:
        mounted = folder_on(base, beside.place)
    with mounted:
        if data.documents:
            window = asked.window or min(base.context_length, _WINDOW)
            return on_text(base, data.documents, window_tokens=window, stages=stages, name=name)
        measures = EvaluationConfig(
            metrics=asked.metrics,
            new_tokens=asked.new_tokens,
            batch=asked.batch,
            one_line=asked.about.one_line,
            bert=asked.bert,
        )
        return on_examples(base, data.examples, measures, stages, name)
