"""Two learners whose bases have different tokenizers, and what each makes of the other's byte rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gossipllm.config import LearnerConfig, ReferenceConfig
from gossipllm.learning.learner import Learner
from gossipllm.work import Declined, Opened, Train, Trained, Weigh, Weighed
from support.learners import ask, introduced
from wire.digest import Content
from wire.predictions.byte_rows import ByteShape, decode_byte_rows

Config = Callable[..., LearnerConfig]


@pytest.fixture
def config(config: Config) -> Config:
    """With byte windows for a reference set, as networks have by default."""

    def make(model: str) -> LearnerConfig:
        one = config()
        reference = ReferenceConfig(windows=5, window_bytes=64, top=8)
        return replace(one, model=replace(one.model, name=model), reference=reference)

    return make


def trained(learner: Learner, *, byte_rows: bool = True) -> Trained:
    answer = ask(learner, Train(request=2, round=1, steps=2, byte_rows=byte_rows))
    assert isinstance(answer, Trained), answer
    return answer


def shape_of(opened: Opened) -> ByteShape:
    assert not opened.no_byte_rows
    return ByteShape(opened.offsets, opened.spans)


def test_learners_of_two_tokenizers_agree_on_the_shape_and_measure_each_other(config: Config) -> None:
    (mine, first), (theirs, second) = (introduced(config(name)) for name in ("embedded", "embedded-1024"))
    assert first.fingerprints.tokenizer != second.fingerprints.tokenizer
    assert first.fingerprints.reference == second.fingerprints.reference
    shape = shape_of(first)
    assert shape_of(second) == shape

    made = [trained(one).byte_rows for one in (mine, theirs)]
    distances = list[Weighed]()
    for learner, blob in ((mine, made[1]), (theirs, made[0]), (mine, made[0])):
        assert blob is not None
        answer = ask(learner, Weigh(request=3, author="them", update=None, evidence=None, byte_rows=blob))
        assert isinstance(answer, Weighed), answer
        distances.append(answer)

    assert all(blob is not None and decode_byte_rows(blob.data, shape).at_R.size for blob in made)
    assert distances[0].distances == pytest.approx(distances[1].distances)
    assert 0 < distances[0].errors[0] < distances[0].distances[0] < 1
    assert distances[2].distances == pytest.approx((0.0,), abs=1e-6)


def test_byte_rows_are_made_only_where_they_are_asked_for(config: Config) -> None:
    learner, _ = introduced(config("embedded-1024"))
    assert trained(learner, byte_rows=False).byte_rows is None


def test_byte_rows_that_do_not_fit_are_declined_in_one_line(config: Config) -> None:
    learner, _ = introduced(config("embedded-1024"))
    good = trained(learner).byte_rows
    assert good is not None

    answer = ask(
        learner,
        Weigh(request=3, author="them", update=None, evidence=None, byte_rows=Content.of(good.data[:-1])),
    )

    assert isinstance(answer, Declined)
    assert answer.field == "bytes.length"


def test_a_reference_set_counted_in_tokens_has_no_byte_rows(config: Config) -> None:
    counted = replace(config("embedded-1024"), reference=ReferenceConfig(windows=5, window_bytes=0, top=8))
    _, opened = introduced(counted)
    assert (opened.offsets, opened.spans) == (0, 0)
    assert opened.no_byte_rows
