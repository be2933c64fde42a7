"""Tests of the progress of loading, which is reported weight by weight."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from transformers.utils import logging

from gossipllm.config import ModelConfig
from gossipllm.model.loading.models import load_base
from gossipllm.model.loading.progress import loading_told
from support.progress import silent


def test_progress_is_reported_for_each_weight(model_folder: Callable[[str], Path]) -> None:
    config = ModelConfig(name=str(model_folder("llama")), device="cpu", dtype="float32", threads=1)
    told: list[tuple[int, int]] = []

    with loading_told(lambda done, total: told.append((done, total))):
        load_base(config)
    load_base(config)

    total = told[0][1]
    assert told == [(done, total) for done in range(1, total + 1)]
    assert total > 10


def test_other_bars_are_left_alone_and_an_earlier_hook_comes_back() -> None:
    def earlier(*_: object) -> str:
        return "earlier"

    before = logging.set_tqdm_hook(earlier)
    try:
        with loading_told(silent):
            assert list(cast("Any", logging).tqdm([1, 2], desc="something else", disable=True)) == [1, 2]
        assert logging.tqdm([1]) == "earlier"
    finally:
        logging.set_tqdm_hook(before)
