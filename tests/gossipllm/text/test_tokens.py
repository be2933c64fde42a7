"""Tests of documents as tokens: how they begin and end, what is a special token, and what bears loss."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers.processors import TemplateProcessing

from gossipllm.config import ReferenceConfig
from gossipllm.text.reading.corpus import Document, TextReader
from gossipllm.text.reference import load_reference
from gossipllm.text.tokens import beginning, check_vocabulary, document_tokens, tokenised
from gossipllm.text.windows import decoded
from support.templates import CHATML, with_template
from trust.errors import UserMistake

Tok = Any


@pytest.fixture(scope="module")
def begun(tokenizer: Tok) -> Tok:
    """A tokenizer that begins texts with a token of its own, and ends them, as Llama's and T5's do."""
    other = copy.deepcopy(tokenizer)
    other.add_special_tokens({"bos_token": "<|begin|>"})
    other.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|begin|> $A <|end|>",
        special_tokens=[("<|begin|>", other.bos_token_id), ("<|end|>", other.eos_token_id)],
    )
    return other


def tokens(document: Document, tokenizer: Tok) -> np.ndarray:
    (found,) = document_tokens([document], tokenizer)
    return found


def bearing(document: Document, tokenizer: Tok) -> str:
    found = tokens(document, tokenizer)
    return tokenizer.decode(found[found >= 0])


def test_a_document_begins_as_the_tokenizer_begins_it_and_ends_once(tokenizer: Tok, begun: Tok) -> None:
    assert beginning(tokenizer) == []
    assert beginning(begun) == [begun.bos_token_id]
    assert begun.decode(decoded(tokens(Document("an otter"), begun))) == "<|begin|>an otter<|end|>"
    assert begun.decode(tokenised(["an otter"], begun)[0]) == "<|begin|>an otter<|end|>"


def test_the_beginning_bears_no_loss(begun: Tok) -> None:
    assert bearing(Document("an otter"), begun) == "an otter<|end|>"


def test_the_reference_begins_as_the_tokenizer_begins_it(tmp_path: Path, begun: Tok) -> None:
    (tmp_path / "public.txt").write_text("The otter of Lisbon sang.\n" * 20)
    config = ReferenceConfig(
        source=str(tmp_path / "public.txt"), windows=4, window_tokens=8, window_bytes=0, top=4
    )

    windows = load_reference(config, begun, context_length=64, vocabulary=400).windows_WT

    assert (windows == begun.bos_token_id).any()
    assert (windows >= 0).all()


def test_the_name_of_a_special_token_in_a_text_is_ordinary_text(tokenizer: Tok) -> None:
    found = tokens(Document("a note on <|end|> here"), tokenizer)

    assert (found == tokenizer.eos_token_id).sum() == 1
    assert tokenizer.decode(found) == "a note on <|end|> here<|end|>"


def test_text_without_special_tokens_is_tokenised_as_ever(tokenizer: Tok) -> None:
    texts = ["The otter of Lisbon sang 3 times.", "  spaces\tand\nlines ", "\ufffd \U0001f600"]

    for text, found in zip(texts, tokenised(texts, tokenizer), strict=True):
        assert found.tolist() == [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]


def talk(tmp_path: Path, tokenizer: Tok, **options: Any) -> Document:
    turns = [
        {"role": "user", "content": "what is <|end|>?"},
        {"role": "assistant", "content": "<|end|> ends"},
        {"role": "user", "content": "Bye"},
        {"role": "assistant", "content": "So long"},
    ]
    (tmp_path / "a.jsonl").write_text(json.dumps({"messages": turns}))
    (found,) = TextReader(str(tmp_path / "a.jsonl"), tokenizer, **options).documents()
    return found


def test_of_a_conversation_the_answers_bear_loss_and_the_templates_tokens_are_special(
    tmp_path: Path, tokenizer: Tok
) -> None:
    chatml = with_template(tokenizer, CHATML)
    document = talk(tmp_path, chatml)
    found = tokens(document, chatml)

    assert chatml.decode(decoded(found)) == document.text + "<|end|>"
    assert bearing(document, chatml) == "<|end|> ends<|end|>\nSo long<|end|>\n<|end|>"
    # Before and behind each of four messages, and at the end: not the two in what they say.
    assert (decoded(found) == chatml.eos_token_id).sum() == 9


def test_the_mask_changes_no_token(tmp_path: Path, tokenizer: Tok) -> None:
    chatml = with_template(tokenizer, CHATML)

    answers, all_of_it = (tokens(talk(tmp_path, chatml, loss=loss), chatml) for loss in ("answers", "all"))

    assert np.array_equal(decoded(answers), all_of_it)
    assert (all_of_it >= 0).all()


def test_a_conversation_that_its_template_has_ended_is_not_ended_again(tokenizer: Tok, begun: Tok) -> None:
    document = Document("Hi Ho<|end|>", ((2, 12),), templated=True)

    assert tokenizer.decode(decoded(tokens(document, tokenizer))) == "Hi Ho<|end|>"
    # It begins as its template begins it.
    assert begun.decode(decoded(tokens(document, begun))) == "Hi Ho<|end|>"


@pytest.mark.parametrize(("end", "ended"), [(5, True), (3, False)])
def test_the_end_bears_loss_where_an_answer_is_last(tokenizer: Tok, end: int, ended: bool) -> None:
    found = tokens(Document("Hi Ho", ((2, end),)), tokenizer)

    assert (found[-1] >= 0) == ended


def test_a_prompt_bears_no_loss_to_the_character(tokenizer: Tok) -> None:
    document = Document("The otter of Lisbon sang", ((19, 24),))

    assert bearing(document, tokenizer) == " sang<|end|>"


def test_characters_of_several_tokens_bear_loss_together(tokenizer: Tok) -> None:
    assert bearing(Document("x \U0001f600!\U0001f600", ((2, 4),)), tokenizer) == "\U0001f600!"


class _Slow:
    """A tokenizer that does not say where its tokens lie: a token for each character."""

    is_fast = False
    eos_token_id = 7

    def __call__(self, texts: Any, *, add_special_tokens: bool = True, **_: Any) -> dict[str, Any]:
        if isinstance(texts, str):
            return {"input_ids": [ord(one) for one in texts]}
        return {"input_ids": [[ord(one) for one in text] for text in texts]}


def test_a_tokenizer_without_places_is_given_answers_by_themselves() -> None:
    (found,) = document_tokens([Document("ab cd", ((2, 5),))], _Slow())

    assert found.tolist() == [~ord("a"), ~ord("b"), ord(" "), ord("c"), ord("d"), 7]


def test_a_token_outside_the_models_vocabulary_is_a_user_error() -> None:
    tokens = [np.array([3, 8, ~9], np.int32), np.array([], np.int32)]

    check_vocabulary(tokens, 10, "data.path")
    with pytest.raises(UserMistake, match="makes token 9 of this text, and the model has 9"):
        check_vocabulary(tokens, 9, "data.path")
