"""Loading text sources as categories: running text, one sample per line, and samples of tasks."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from gossipllm.base import model_folder
from gossipllm.base.making.vocabulary import load_tokenizer
from gossipllm.text.dealing.categories import Category, Tokens
from gossipllm.text.dealing.partitions import PartitionConfig
from sim.experiments.texts import are_samples, category_names, check_sources, load_categories
from trust.errors import UserMistake

LINES = "One line.\n\nAnother, rather longer line.\nA third.\n"


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return load_tokenizer(model_folder())


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "notes.txt"
    file.write_text(LINES, encoding="utf-8")
    return file


def loaded(source: str | Path, tokenizer: PreTrainedTokenizerFast, longest: int = 32) -> Category:
    (category,) = load_categories((str(source),), tokenizer, PartitionConfig(chunk_tokens=8), longest=longest)
    return category


def decoded(tokenizer: PreTrainedTokenizerFast, piece: Tokens) -> str:
    # The library leaves its further options without types.
    return cast("str", tokenizer.decode(piece, skip_special_tokens=True))  # pyright: ignore[reportUnknownMemberType]


def test_each_line_is_a_sample_with_a_loss_on_every_word(
    text: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    category = loaded(f"lines:{text}", tokenizer)
    assert category.name == "notes"
    assert len(category.pieces) == 3
    for piece, line in zip(category.pieces, LINES.replace("\n\n", "\n").splitlines(), strict=True):
        assert (piece[1:] >= 0).all()
        assert decoded(tokenizer, piece[1:]) == line


def test_a_sample_longer_than_a_window_is_cut(text: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    assert max(len(piece) for piece in loaded(f"lines:{text}", tokenizer, longest=4).pieces) == 4


def test_a_task_sample_has_a_loss_on_its_answer_only(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    file = tmp_path / "train.csv"
    file.write_text('mr,ref\n"name[Aromi]",Aromi is a place.\n', encoding="utf-8")
    category = loaded(f"e2e:{file}", tokenizer)
    (piece,) = category.pieces
    assert category.name == "e2e"
    assert decoded(tokenizer, piece[piece >= 0]).strip() == "Aromi is a place."
    assert (np.diff((piece >= 0).astype(int)) >= 0).all()


def test_running_text_is_no_sample(text: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    assert not are_samples(str(text))
    assert not are_samples("embedded:fr")
    assert {len(piece) for piece in loaded(text, tokenizer).pieces} == {8}


def test_names_are_short_and_tell_sources_of_one_name_apart() -> None:
    sources = ("lines:embedded:java", "e2e:a/train.csv", "e2e:b/train.csv", "translation:en-fr:pud.jsonl")
    assert category_names(sources) == ("java", "e2e 2", "e2e 3", "translation en-fr")


def test_a_source_counts_by_what_its_files_hold(text: Path) -> None:
    before = check_sources((f"lines:{text}",))
    assert before == check_sources((str(text),))
    text.write_text(LINES + "More.\n", encoding="utf-8")
    assert check_sources((f"lines:{text}",)) != before


def test_a_missing_file_is_named_with_its_key() -> None:
    for source in ("lines:gone.txt", "e2e:gone.csv", "gone.txt"):
        with pytest.raises(UserMistake, match=r"data\.sources: .*gone"):
            check_sources((source,))
