"""Export as GGUF: by llama.cpp's converter, or one line that says how to get it."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from transformers import AutoModelForCausalLM

from gossipllm.base import corpus_file
from gossipllm.model.adapter import gguf
from gossipllm.model.adapter.gguf import export_gguf
from support.tensors import seed_torch
from trust.errors import UserMistake

CONVERTS = """\
import sys
folder, _, out, _, kind = sys.argv[1:]
weights = open(folder + "/model.safetensors", "rb").read()
open(out, "wb").write(b"GGUF" + kind.encode() + weights)
"""
REFUSES = """\
import sys
sys.stderr.write("INFO: reading\\nNotImplementedError: BPE pre-tokenizer was not recognized\\n")
sys.exit(1)
"""


def written(folder: Path) -> None:
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Path]:
    def make(source: str) -> Path:
        file = tmp_path / "converter.py"
        file.write_text(source)
        return file

    return make


def test_the_converter_gets_the_whole_model_and_nothing_of_it_is_left(
    tmp_path: Path, script: Callable[[str], Path]
) -> None:
    out = tmp_path / "out" / "my model.gguf"

    export_gguf(written, out, kind="q8_0", script=script(CONVERTS))

    assert out.read_bytes() == b"GGUFq8_0weights"
    assert list(out.parent.iterdir()) == [out]


def test_a_model_that_the_converter_refuses_is_one_line_and_leaves_nothing(
    tmp_path: Path, script: Callable[[str], Path]
) -> None:
    out = tmp_path / "out" / "my.gguf"

    with pytest.raises(
        UserMistake, match="refused the model: NotImplementedError: BPE pre-tokenizer was not"
    ):
        export_gguf(written, out, kind="auto", script=script(REFUSES))

    assert list(out.parent.iterdir()) == []


def test_a_converter_that_writes_something_else_is_not_believed(
    tmp_path: Path, script: Callable[[str], Path]
) -> None:
    with pytest.raises(UserMistake, match="refused the model: it said nothing"):
        export_gguf(
            written, tmp_path / "my.gguf", kind="auto", script=script(CONVERTS.replace("GGUF", "none"))
        )


def test_without_a_converter_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(_name: str) -> None:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", nothing)

    with pytest.raises(UserMistake, match=r"needs llama.cpp's converter: pip install .*\[gguf\]"):
        export_gguf(written, tmp_path / "my.gguf", kind="auto", script=None)


def test_a_file_that_exists_is_kept(tmp_path: Path, script: Callable[[str], Path]) -> None:
    out = tmp_path / "my.gguf"
    out.write_bytes(b"mine")

    with pytest.raises(UserMistake, match="exists already"):
        export_gguf(written, out, kind="auto", script=script(CONVERTS))
    assert out.read_bytes() == b"mine"

    export_gguf(written, out, kind="auto", script=script(CONVERTS), overwrite=True)
    assert out.read_bytes() != b"mine"


@pytest.mark.skipif(
    importlib.util.find_spec(gguf._MODULE) is None, reason="the extra [gguf] is not installed"
)
def test_llama_cpps_own_converter_writes_a_model_that_computes_the_same(tmp_path: Path) -> None:
    """With a SentencePiece tokenizer, because the converter knows other tokenizers one by one."""
    sentencepiece: Any = importlib.import_module("sentencepiece")
    transformers: Any = importlib.import_module("transformers")
    seed_torch(1)
    shape = transformers.LlamaConfig(
        vocab_size=600, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=False, bos_token_id=1,
        eos_token_id=2,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(shape).eval()

    def write(folder: Path) -> None:
        folder.mkdir()
        sentencepiece.SentencePieceTrainer.train(
            input=str(corpus_file("fr")), model_prefix=str(folder / "tokenizer"), vocab_size=600,
            model_type="bpe", byte_fallback=True, bos_id=1, eos_id=2, unk_id=0, minloglevel=2,
        )  # fmt: skip
        settings = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        model.save_pretrained(folder)

    export_gguf(write, tmp_path / "my.gguf", kind="f32", script=None)

    loader = cast("Any", AutoModelForCausalLM)
    read = loader.from_pretrained(tmp_path, gguf_file="my.gguf", dtype=torch.float32).eval()
    tokens = torch.arange(20).reshape(2, 10)
    with torch.no_grad():
        assert torch.allclose(read(tokens).logits, model(tokens).logits, atol=1e-5)
