"""Tests of scoring a model on the examples of a task: all requested scores are computed, and no others."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import pytest

from gossipllm.model.loading.models import Base
from gossipllm.tasks.examples import Choose, Example, Generate, prompt_targets
from gossipllm.tasks.likelihood import sample_nats
from gossipllm.tasks.metrics import BertModel
from gossipllm.tasks.scoring import EvaluationConfig, on_examples, on_text
from gossipllm.text.reading.corpus import Document
from gossipllm.text.samples import encoded
from trust.errors import UserMistake
from trust.progress import SilentStages

ASKED = (
    Generate("Facts: A\nText:", ("The heron slept.", "A heron.")),
    Generate("Facts: B\nText:", ("The otter.",)),
)
CHOICES = tuple(
    Choose(f"In the year {1500 + i}", ("the heron sang", "the otter of Lisbon slept ere winter came"), i % 2)
    for i in range(8)
)


class Recording:
    def __init__(self) -> None:
        self.stages: dict[str, list[int]] = {}

    def begin(self, what: str, total: int) -> Callable[[int], None]:
        self.stages[what] = [total, 0]

        def done(more: int) -> None:
            self.stages[what][1] += more

        return done


def measured(base: Base, examples: tuple[Example, ...], *metrics: Any, **options: Any) -> Any:
    given: dict[str, Any] = {"new_tokens": 6, "batch": 4, "one_line": True, "bert": BertModel()}
    stages = given.pop("stages", None) or options.pop("stages", SilentStages())
    return on_examples(base, examples, EvaluationConfig(metrics=metrics, **(given | options)), stages, "m")


def test_written_answers_are_scored_by_each_requested_metric(base: Callable[..., Base]) -> None:
    found = measured(base(), ASKED, "rouge", "bleu", "chrf", "perplexity")

    assert list(found.scores) == [
        *("rouge_1", "rouge_2", "rouge_l", "bleu", "chrf", "perplexity", "bits_per_byte", "tokens")
    ]
    assert list(found.signatures) == ["rouge", "bleu", "chrf"]
    assert len(found.answers) == 2


def test_perplexity_alone_writes_nothing_and_counts_every_reference(base: Callable[..., Base]) -> None:
    model = base()
    stages = Recording()
    samples = encoded(prompt_targets(ASKED), model.tokenizer)
    nats = sum(sample_nats(model, samples, lambda _: None))
    tokens = sum(int((one >= 0).sum()) for one in samples)

    found = measured(model, ASKED, "perplexity", stages=stages)

    assert found.answers == ()
    assert stages.stages == {"m: reading": [3, 3]}
    assert found.scores == {
        "perplexity": pytest.approx(math.exp(nats / tokens)),
        "bits_per_byte": pytest.approx(nats / math.log(2) / len(" The heron slept. A heron. The otter.")),
        "tokens": tokens,
    }


def test_accuracy_is_the_share_of_right_choices(base: Callable[..., Base]) -> None:
    stages = Recording()

    found = measured(base(), CHOICES, "accuracy", stages=stages)

    right = [answer == one.choices[one.right] for answer, one in zip(found.answers, CHOICES, strict=True)]
    assert found.scores["accuracy"] == pytest.approx(100 * sum(right) / 8)
    assert 0 <= found.scores["accuracy_by_byte"] <= 100
    assert stages.stages == {"m: choosing": [16, 16]}


def test_examples_that_do_not_fit_are_counted(base: Callable[..., Base]) -> None:
    long = Generate("The otter of Lisbon sang. " * 30, ("The heron.",))

    found = measured(base(), (*ASKED, long), "chrf", "perplexity")

    assert found.cut == 1
    assert measured(base(), ASKED, "chrf", "perplexity").cut == 0


def test_of_a_cut_target_only_the_remaining_bytes_count(base: Callable[..., Base]) -> None:
    model = base()
    # Each repetition is as many tokens as bytes: of what is left there are as many of both.
    long = Generate("A", ("\u0394" * 200,), blank="")

    found = measured(model, (long,), "perplexity")

    bits = math.log2(found.scores["perplexity"])
    assert found.cut == 1
    assert found.scores["tokens"] < model.context_length
    assert found.scores["bits_per_byte"] == pytest.approx(bits, rel=0.05)


@pytest.mark.parametrize("window", [8, 64])
def test_text_counts_every_token_once_and_its_bytes(base: Callable[..., Base], window: int) -> None:
    model = base()
    documents = ["The heron slept.", "Bergen, été", "The otter of Lisbon sang 3 times ere winter came."]
    stages = Recording()

    found = on_text(
        model, [Document(one) for one in documents], window_tokens=window, stages=stages, name="m"
    )

    tokens = sum(len(cast("Any", model.tokenizer)(one)["input_ids"]) + 1 for one in documents)
    assert found.scores["tokens"] == tokens
    bits = math.log2(found.scores["perplexity"]) * tokens
    assert found.scores["bits_per_byte"] * sum(len(one.encode()) for one in documents) == pytest.approx(bits)
    assert stages.stages["m: reading"][0] == stages.stages["m: reading"][1] == -(-tokens // (window - 1))


def test_of_conversations_what_bears_loss_is_measured_and_its_bytes_are_counted(
    base: Callable[..., Base],
) -> None:
    """Question and answer add up to the whole: nothing is measured twice, and nothing is left out."""
    text, border = "Where is the heron? It sings in Lisbon.", len("Where is the heron?")

    model = base()

    def bits(answers: tuple[tuple[int, int], ...] | None) -> tuple[float, float, float]:
        found = on_text(
            model, [Document(text, answers)], window_tokens=16, stages=SilentStages(), name="m"
        ).scores
        total = math.log2(found["perplexity"]) * found["tokens"]
        return total, found["tokens"], total / found["bits_per_byte"]

    question, answer, whole = bits(((0, border),)), bits(((border, len(text)),)), bits(None)
    assert answer[2] == pytest.approx(len(text) - border)
    assert [sum(parts) for parts in zip(question, answer, strict=True)] == pytest.approx(
        list(whole), rel=1e-5
    )


def test_a_text_without_an_answer_is_refused_with_what_to_do(base: Callable[..., Base]) -> None:
    with pytest.raises(UserMistake, match="no answer to measure; measure questions too, with --loss all"):
        on_text(base(), [Document("Where?", ())], window_tokens=16, stages=SilentStages(), name="m")
