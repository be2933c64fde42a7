"""An adapter that leaves gossipllm computes the same in PEFT."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from gossipllm.config import LearnerConfig
from gossipllm.learning.crew import answer
from gossipllm.mistakes import UserMistake
from gossipllm.model.export import export_adapter
from gossipllm.text.data import load_splits
from gossipllm.work import Merge, Open, Opened, Train

Config = Callable[..., LearnerConfig]


def trained(config: LearnerConfig) -> tuple[Opened, bytes, float]:
    learner, opened = answer(None, Open(request=1, config=config, snapshot=None), lambda _: None)
    answer(learner, Train(request=2, round=1, steps=5), lambda _: None)
    _, merged = answer(learner, Merge(request=3, row=(1.0,), updates=()), lambda _: None)
    return opened, merged.snapshot.data, merged.test_merged  # pyright: ignore[reportReturnType, reportAttributeAccessIssue]


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_peft_loads_it_and_finds_the_same_loss(config: Config, family: str, tmp_path: Path) -> None:
    opened, snapshot, want = trained(config(family))

    export_adapter(snapshot, tmp_path / "out", peers=["ada", "bob"], row={"self": 0.75, "ada": 0.25})

    base = AutoModelForCausalLM.from_pretrained(config(family).model.name)
    model = PeftModel.from_pretrained(base, str(tmp_path / "out")).eval()
    data = config(family).data
    tokenizer = AutoTokenizer.from_pretrained(config(family).model.name)
    splits = load_splits(data, tokenizer, context=64, seed=config(family).training.seed)
    tokens = torch.tensor(splits.test_WT[: data.test_windows], dtype=torch.int64)
    assert model(input_ids=tokens, labels=tokens).loss.item() == pytest.approx(want, abs=1e-5)
    assert want < opened.test_loss - 0.01, "an adapter that does nothing would pass, too"
    card = (tmp_path / "out" / "README.md").read_text()
    assert "ada, bob" in card
    assert "| self | 0.750 |" in card
    assert opened.fingerprints.base.hex() in card


def test_a_folder_that_holds_something_is_not_overwritten_unasked(config: Config, tmp_path: Path) -> None:
    _, snapshot, _ = trained(config())
    (tmp_path / "precious").write_text("x")

    with pytest.raises(UserMistake, match="not empty"):
        export_adapter(snapshot, tmp_path)
    export_adapter(snapshot, tmp_path, overwrite=True)

    assert (tmp_path / "precious").read_text() == "x"
    assert (tmp_path / "adapter_config.json").is_file()


def test_a_peers_name_cannot_write_into_the_card(config: Config, tmp_path: Path) -> None:
    _, snapshot, _ = trained(config())

    export_adapter(snapshot, tmp_path / "out", peers=["](http://evil)\n# ha"])

    card = (tmp_path / "out" / "README.md").read_text()
    assert "http://" not in card
    assert "\n# ha" not in card
