"""Tests of the account before a run: exact for a small text, and near for a sample of a large one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gossipllm.config import DataConfig
from gossipllm.text import preflight
from gossipllm.text.preflight import examined
from gossipllm.text.windows import load_splits
from trust.errors import UserMistake

Tok = Any


def test_the_account_before_a_run_is_that_of_the_run(text_file: Path, tokenizer: Tok) -> None:
    config = DataConfig(path=str(text_file), window_tokens=16)
    splits = load_splits(config, tokenizer, context_length=64, seed=0)

    before = examined(config, tokenizer)

    assert before == splits.account
    assert before.windows is not None
    assert (before.windows.train, before.windows.trust, before.windows.test) == tuple(
        map(len, (splits.train_WT, splits.trust_WT, splits.test_WT))
    )


def test_of_a_large_text_a_sample_is_tokenised_and_the_rest_is_estimated(
    text_file: Path, tokenizer: Tok, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DataConfig(path=str(text_file), window_tokens=16)
    exact = examined(config, tokenizer)
    monkeypatch.setattr(preflight, "_EXACT", 2_000)

    about = examined(config, tokenizer)

    assert about.estimated
    assert about.documents == exact.documents
    assert about.tokens == pytest.approx(exact.tokens, rel=0.05)
    assert any("about" in line for line in about.lines())


def test_a_text_that_a_run_would_refuse_is_refused_before_it(tmp_path: Path, tokenizer: Tok) -> None:
    (tmp_path / "a.txt").write_text("The otter of Lisbon sang.")

    with pytest.raises(UserMistake, match="at least 80 tokens of text are needed"):
        examined(DataConfig(path=str(tmp_path), window_tokens=16), tokenizer)


def test_windows_without_an_answer_are_left_out_and_said(tmp_path: Path, tokenizer: Tok) -> None:
    question = {"role": "user", "content": "The otter of Lisbon sang 3 times ere winter came. " * 20}
    talks = [
        {"messages": [question, {"role": "assistant", "content": f"answer number {n} is a short one"}]}
        for n in range(30)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, talks)))

    account = examined(DataConfig(path=str(tmp_path), window_tokens=8), tokenizer)

    assert account.windows is not None
    assert account.windows.silent > account.windows.train
    assert account.windows.longer == 30
    assert account.bearing < account.tokens / 5
    said = " ".join(account.lines())
    assert "bear loss (answers only)" in said
    assert "windows without an answer left out" in said
    assert "30 documents longer than a window, cut over several" in said
