"""`export` as a user meets it: other libraries load what it writes and measure the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from peers.commands.export import _last_row
from peers.home.folder import Home
from support.processes import PeerProcess, all_done, gossipllm, the_only_line
from trust.record.history import HISTORY_FILE, Entry, Round, Seen, Traffic
from trust.record.log import read_history
from trust.record.writer import HistoryWriter

ROUNDING = 4e-3
"""Nats. The peer computes in bfloat16 where that is fast, the export in float32: differences of 2e-4 to 2.2e-3 were
seen, of both signs."""


def test_the_export_loads_with_peft_and_gives_the_same_loss(trained_home: Path, tmp_path: Path) -> None:
    records = [entry.record for entry in read_history(trained_home / HISTORY_FILE).entries]
    expected = [record.test_merged for record in records if isinstance(record, Round)][-1]

    done = gossipllm("export", trained_home, "-o", tmp_path / "adapter")

    assert done.returncode == 0, done.stderr
    assert _test_loss(trained_home, tmp_path / "adapter") == pytest.approx(expected, abs=ROUNDING)
    assert "anna" in (tmp_path / "adapter" / "README.md").read_text()


def test_what_peft_has_no_form_for_is_exported_as_a_whole_model(
    home: Path, run: Callable[..., PeerProcess], tmp_path: Path
) -> None:
    settings = (home / "peer.toml").read_text()
    (home / "peer.toml").write_text(settings.replace('train = "both"', 'train = "full"'))
    peer = run(home, "--rounds", "1")
    peer.until(all_done)
    peer.stop()
    expected = next(event["test_merged"] for event in reversed(peer.events) if event["event"] == "round")

    assert "--merged" in the_only_line(gossipllm("export", home, "-o", tmp_path / "adapter"))
    done = gossipllm("export", home, "--merged", "-o", tmp_path / "model")

    assert (done.returncode, done.stderr) == (0, "")
    assert _test_loss(home, model=tmp_path / "model") == pytest.approx(expected, abs=ROUNDING)
    assert "anna" in (tmp_path / "model" / "README.md").read_text()


def test_where_mass_is_pushed_the_card_names_those_who_were_there_and_no_row(tmp_path: Path) -> None:
    seen = Seen(peer="12D3", name="bruno", its_round=0, age=0, distance=0, error=0, weight=0, tokens=1)
    record = Round(
        peer="12D2",
        round=0,
        self_weight=1,
        seen=(seen,),
        train_loss=1,
        trust_alone=1,
        trust_merged=1,
        test_alone=1,
        test_merged=1,
        temperature=None,
        tried=(),
        guard="taken",
        tokens=1,
        samples=1,
        steps=1,
        train_s=1,
        gather_s=1,
        merge_s=1,
        discarded=0,
        absorbed=1,
    )
    with HistoryWriter(tmp_path / HISTORY_FILE, peer="12D2", now=0) as writer:
        writer.append(Entry(at_s=0, traffic=Traffic(sent={}, received={}), record=record))

    assert _last_row(Home(tmp_path)) == (("bruno",), {})


def test_exporting_before_the_first_round_says_what_to_do(home: Path, tmp_path: Path) -> None:
    line = the_only_line(gossipllm("export", home, "-o", tmp_path / "adapter"))

    assert "gossipllm run" in line


def _test_loss(home: Path, adapter: Path | None = None, *, model: Path | None = None) -> float:
    """Of an adapter on the home's base, or of a whole model."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from gossipllm.model.loading.models import load_base
    from gossipllm.text.windows import load_splits
    from peers.home.config import load_config

    config = load_config(home / "peer.toml")
    base = load_base(config.model)
    splits = load_splits(config.data, base.tokenizer, context_length=256, seed=config.training.seed)
    # Both libraries leave parts of the types of their loaders open.
    loaded: Any = (
        AutoModelForCausalLM.from_pretrained(model)  # pyright: ignore[reportUnknownMemberType]
        if model is not None
        else PeftModel.from_pretrained(base.model, str(adapter))  # pyright: ignore[reportUnknownMemberType]
    )
    tokens = torch.tensor(splits.test_WT[: config.data.test_windows], dtype=torch.int64)
    with torch.inference_mode():
        logits = loaded(input_ids=tokens).logits[:, :-1].float()
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).item()
