"""The results of an evaluation as data, which `gossipllm eval --json` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from gossipllm.tasks.examples import Choose, Example, Generate
from gossipllm.tasks.scoring import EvaluationScores

SCHEMA: Final = 1


class ModelScores(msgspec.Struct, frozen=True, kw_only=True):
    """The scores of one model. `adapter` is the folder or home of its adapter, null for the base alone."""

    name: str
    adapter: str | None
    scores: dict[str, float]
    cut: int
    seconds: float


class ExampleAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """One example and the answer of each model, in the order of the results."""

    prompt: str = msgspec.field(name="context")
    """Called `context` in JSON of schema 1."""

    expected: tuple[str, ...]
    answers: tuple[str, ...]


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints. `examples` counts documents where the task is text, and `answered` those of them of which
    only the answers are measured."""

    schema: int = SCHEMA
    task: str
    data: str
    pair: str
    model: str
    examples: int
    metrics: tuple[str, ...]
    new_tokens: int
    answered: int = 0
    results: tuple[ModelScores, ...]
    signatures: dict[str, str]
    versions: dict[str, str]
    shown: tuple[ExampleAnswers, ...] = ()


def shown(
    examples: Sequence[Example], measured: Sequence[EvaluationScores], count: int
) -> tuple[ExampleAnswers, ...]:
    """The first `count` examples with the answers to them; none where a model wrote no answers."""
    if not all(one.answers for one in measured):
        return ()
    return tuple(
        ExampleAnswers(
            prompt=one.prompt, expected=_expected(one), answers=tuple(each.answers[i] for each in measured)
        )
        for i, one in enumerate(examples[:count])
    )


def json_of(evaluation: Evaluation) -> str:
    """The evaluation as indented JSON. Numbers that are not finite become null."""
    return msgspec.json.format(msgspec.json.encode(evaluation), indent=2).decode()


def _expected(example: Example) -> tuple[str, ...]:
    match example:
        case Generate():
            return example.references
        case Choose():
            return (example.choices[example.right],)
