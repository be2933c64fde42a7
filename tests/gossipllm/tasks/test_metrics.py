"""Tests of scores against closed forms, of the choice among references, and of missing libraries."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import BertConfig, PreTrainedTokenizerFast
from transformers import BertModel as Bert

from gossipllm.tasks.metrics import BertModel, bertscore, bleu, check_libraries, chrf, rouge
from support.tensors import seed_torch
from trust.errors import UserMistake
from trust.extras import install_command

HERON = "the heron of Bergen slept ere spring came"


def test_rouge_counts_words_pairs_and_order_and_takes_the_best_reference() -> None:
    # Against "a b c d": words 3 of 3 and 4, pairs 1 of 2 and 3, the common order a-b or a-d... of two: 2 of 3 and 4.
    found = rouge(["b a d"], [["x y", "a b c d"]])

    assert found.scores["rouge_1"] == pytest.approx(100 * 6 / 7)
    assert found.scores["rouge_2"] == pytest.approx(0)
    assert found.scores["rouge_l"] == pytest.approx(100 * 4 / 7)
    assert "F1" in found.signatures["rouge"]


def test_rouge_is_the_mean_over_examples() -> None:
    assert rouge([HERON, ""], [[HERON], [HERON]]).scores["rouge_l"] == pytest.approx(50)


def test_bleu_and_chrf_know_what_is_right_whichever_reference_it_is() -> None:
    written = [HERON, "the otter of Lisbon sang three times"]
    references = [["nothing alike", HERON], [written[1]]]

    for found, name in ((bleu(written, references), "bleu"), (chrf(written, references), "chrf")):
        assert found.scores[name] == pytest.approx(100)
        assert "nrefs:var" in found.signatures[name]
        assert "version:" in found.signatures[name]


def test_bleu_is_the_geometric_mean_of_precisions_of_the_corpus() -> None:
    # One word of eight is wrong at the end: precisions 7/8, 6/7, 5/6 and 4/5, no brevity penalty.
    found = bleu([HERON.replace("came", "went")], [[HERON]])

    assert found.scores["bleu"] == pytest.approx(100 * (7 / 8 * 6 / 7 * 5 / 6 * 4 / 5) ** 0.25)


def test_an_answer_half_as_long_pays_for_its_brevity() -> None:
    whole = bleu([HERON], [[HERON]]).scores["bleu"]
    half = bleu(["the heron of Bergen"], [[HERON]]).scores["bleu"]

    assert half == pytest.approx(whole * 2.718281828 ** (1 - 8 / 4))


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny BERT with random weights and a tokenizer without a maximal length."""
    inner = Tokenizer(models.WordLevel({"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    inner.train_from_iterator([HERON], trainers.WordLevelTrainer(special_tokens=marks, show_progress=False))
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"
    )
    seed_torch(0)
    folder = tmp_path_factory.mktemp("bert")
    shape: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
    limits: dict[str, Any] = {"intermediate_size": 24, "max_position_embeddings": 32}
    Bert(BertConfig(vocab_size=len(tokenizer), **shape, **limits)).save_pretrained(folder)  # pyright: ignore[reportUnknownMemberType] - typed in part
    tokenizer.save_pretrained(folder)  # pyright: ignore[reportUnknownMemberType] - typed in part
    return str(folder)


def test_bertscore_is_whole_for_what_is_equal_and_takes_the_best_reference(bert: str) -> None:
    model = BertModel(bert, 2)

    equal = bertscore([HERON], [["spring", HERON]], model, batch=2)
    other = bertscore(["spring heron"], [[HERON]], model, batch=2)

    assert equal.scores["bertscore"] == pytest.approx(100, abs=1e-3)  # float32 cosines
    assert other.scores["bertscore"] < 99
    assert "_L2_no-idf" in equal.signatures["bertscore"]


def test_an_empty_answer_scores_nothing_and_a_long_one_is_cut(bert: str) -> None:
    found = bertscore(["", HERON, f"{HERON} " * 20], [[HERON], [HERON], [HERON]], BertModel(bert, 2), batch=4)

    assert 100 / 3 < found.scores["bertscore"] < 200 / 3
    assert bertscore([" "], [[HERON]], BertModel(bert, 2), batch=4).scores == {"bertscore": 0}


def test_a_model_that_bertscore_cannot_use_is_a_user_error(bert: str, tmp_path: Path) -> None:
    for model, says in (
        (BertModel(str(tmp_path / "none"), 2), "--bert: there is no folder"),
        (BertModel(bert), "--bert-layer: bert-score knows no best layer of"),
        (BertModel(bert, 9), "cannot be used: Invalid num_layers"),
        (BertModel(str(tmp_path), 2), "cannot be used"),
    ):
        with pytest.raises(UserMistake, match=says):
            bertscore([HERON], [[HERON]], model, batch=2)


def test_a_library_that_is_missing_is_named_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    check_libraries(["rouge", "bleu", "chrf", "bertscore", "accuracy", "perplexity"])

    def missing(name: str) -> None:
        """As `find_spec` answers where there is no such module."""

    monkeypatch.setattr(importlib.util, "find_spec", missing)

    check_libraries(["accuracy", "perplexity"])
    with pytest.raises(UserMistake, match=re.escape(install_command("eval"))):
        check_libraries(["perplexity", "chrf"])
