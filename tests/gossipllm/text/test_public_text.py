"""Public text in a peer's own splits: none of it is predicted on, and none is both decided by and trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from gossipllm.config import DataConfig, ReferenceConfig
from gossipllm.text.in_bytes.windows import byte_windows
from gossipllm.text.public_text import with_public_text
from gossipllm.text.windows import Splits, Windows
from trust.errors import UserMistake

LENGTH: Final = 8
WORDS: Final = 400


class Words:
    """A tokenizer of a token a word: the text is the numbers from 1 on, so that each word says where it stands."""

    def __call__(self, texts: list[str], **_: object) -> dict[str, Any]:
        return {"input_ids": [[int(word) for word in text.split()] for text in texts]}


@pytest.fixture
def reference(tmp_path: Path) -> ReferenceConfig:
    file = tmp_path / "public.txt"
    numbers = list(range(1, WORDS + 1))
    file.write_text("\n".join(" ".join(map(str, numbers[at : at + 50])) for at in range(0, WORDS, 50)))
    return ReferenceConfig(source=str(file), windows=4, window_bytes=32)


@pytest.fixture
def own() -> Splits:
    def windows(count: int, token: int) -> Windows:
        return np.full((count, LENGTH), token, np.int32)

    return Splits(windows(12, 1001), windows(6, 1002), windows(3, 1003))


def read_of(reference: ReferenceConfig) -> list[bytes]:
    """Every third window, as if it were of the reference set."""
    return byte_windows(Path(reference.source).read_text(), reference.window_bytes)[::3]


def joined(own: Splits, data: DataConfig, reference: ReferenceConfig) -> Splits:
    return with_public_text(own, data, reference, read=read_of(reference), tokenizer=Words())


def public_of(windows_WT: Windows) -> set[int]:
    """The words of the public text among these windows."""
    return {int(one) for one in windows_WT.ravel() if one <= WORDS}


def test_public_text_has_its_share_of_what_decides_and_of_what_is_trained_on(
    own: Splits, reference: ReferenceConfig
) -> None:
    data = DataConfig(window_tokens=LENGTH, trust_windows=4, trust_public=0.5, train_public=0.25)
    made = joined(own, data, reference)

    assert [len(public_of(row)) > 0 for row in made.trust_WT] == [False, False, True, True]
    assert [len(public_of(row)) > 0 for row in made.train_WT] == [False] * 12 + [True] * 4
    assert made.test_WT is own.test_WT


def test_no_public_text_is_both_decided_by_and_trained_on_and_none_is_predicted_on(
    own: Splits, reference: ReferenceConfig
) -> None:
    data = DataConfig(window_tokens=LENGTH, trust_windows=4, trust_public=0.5, train_public=0.9)
    made = joined(own, data, reference)

    decided, trained = public_of(made.trust_WT), public_of(made.train_WT)
    predicted = {int(word) for one in read_of(reference) for word in one.split()}
    # The edge of a window may cut a word, of which both parts are words.
    whole = {word for word in predicted if word >= 100}
    assert decided
    assert len(trained) > WORDS / 3
    assert not decided & trained
    assert not whole & (decided | trained)


def test_what_is_trained_on_can_be_what_is_most_like_the_own_text(reference: ReferenceConfig) -> None:
    def windows(count: int, *tokens: int) -> Windows:
        return np.resize(np.array(tokens, np.int32), (count, LENGTH))

    # Half of the own text bears no loss, and counts, too.
    own = Splits(
        windows(12, *range(300, 350), *(~one for one in range(350, 400))), windows(6, 1), windows(3, 2)
    )
    data = DataConfig(window_tokens=LENGTH, trust_windows=4, trust_public=0.5, train_public=0.25)
    like = replace(data, public_like="own")

    any_, alike = (joined(own, one, reference) for one in (data, like))

    assert np.array_equal(alike.trust_WT, any_.trust_WT)
    assert min(public_of(alike.train_WT[12:])) >= 290
    assert min(public_of(any_.train_WT[12:])) < 290
    decided = public_of(alike.trust_WT[2:])
    assert not decided & public_of(alike.train_WT[12:])


def test_without_it_the_splits_are_those_of_the_own_text(own: Splits, reference: ReferenceConfig) -> None:
    assert joined(own, DataConfig(window_tokens=LENGTH), reference) is own


def test_too_short_a_text_and_windows_of_tokens_are_one_line(own: Splits, reference: ReferenceConfig) -> None:
    many = DataConfig(window_tokens=LENGTH, trust_windows=200, trust_public=0.5)
    with pytest.raises(UserMistake, match=r"^data\.trust_public: .* 100 are wanted$"):
        joined(own, many, reference)
    counted = ReferenceConfig(source=reference.source, window_bytes=0)
    with pytest.raises(UserMistake, match=r"reference set counted in bytes"):
        with_public_text(own, DataConfig(trust_public=0.5), counted, read=(), tokenizer=Words())
