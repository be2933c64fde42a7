"""The bytes of tokens, and their places in windows, for tokenizers of several families."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from gossipllm.config import EMBEDDED
from gossipllm.model.loading.models import load_tokenizer
from gossipllm.text.in_bytes.positions import byte_positions
from gossipllm.text.in_bytes.windows import token_windows
from gossipllm.text.vocabulary import NO_SYMBOL, first_symbols, token_bytes
from trust.errors import UserMistake

Tok = Any
FALLBACK = [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]


def sentencepiece(*, prefix: bool = True, lower: bool = False) -> Tok:
    pieces = [("<unk>", 0.0), *FALLBACK, ("▁", -6.0), ("▁the", -2.0), ("▁ot", -3.0), ("ter", -3.0)]
    pieces += [(letter, -7.0) for letter in "abcdefghijklmnopqrstuvwxyzé."]
    inner = Tokenizer(models.Unigram(pieces, 0, byte_fallback=True))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first" if prefix else "never")
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    if lower:
        inner.normalizer = normalizers.Lowercase()
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", bos_token="<s>")


@pytest.fixture(scope="module", params=["embedded", "sentencepiece", "sentencepiece without prefix"])
def made(request: pytest.FixtureRequest) -> Tok:
    if request.param == "embedded":
        return load_tokenizer(EMBEDDED, "model.name")
    return sentencepiece(prefix=request.param == "sentencepiece")


@given(
    text=st.text(alphabet="the otré.漢😀X\n\t ", min_size=1, max_size=40).filter(
        lambda text: len(text.strip()) > 1
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_tokens_of_a_text_are_its_bytes(made: Tok, text: str) -> None:
    tokens, window = token_bytes(made), text.encode()
    windows_WT = token_windows([window], made)

    positions = byte_positions([window], windows_WT, tokens)

    ids: list[int] = windows_WT[0].tolist()
    joined = b"".join(tokens[index] or b"" for index in ids)
    assert joined in (window, b" " + window)
    assert len(positions.at_R) == len(ids) - 1
    for index, at in zip(ids[1:], positions.at_R.tolist(), strict=True):
        part = tokens[index] or b""
        assert at < 0 or window[at + 1 : at + 1 + len(part)] == part


def test_special_tokens_have_no_bytes_and_added_words_have_theirs(tokenizer: Tok) -> None:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()), eos_token="<|end|>"
    )
    tokenizer.add_tokens(["é-word"])
    tokens = token_bytes(tokenizer)
    assert tokens[tokenizer.eos_token_id] is None
    assert tokens[tokenizer.convert_tokens_to_ids("é-word")] == "é-word".encode()


def test_some_tokens_have_the_same_bytes_as_among_all(made: Tok) -> None:
    whole = token_bytes(made)
    some = sorted({0, 7, 11, len(whole) // 2, *made.added_tokens_decoder})

    few = token_bytes(made, some)

    assert [few[index] for index in some] == [whole[index] for index in some]
    assert sum(one is not None for one in few) <= len(some)


def test_byte_fallback_and_the_meta_symbol_are_read() -> None:
    tok = sentencepiece()
    tokens = token_bytes(tok)
    assert tokens[tok.convert_tokens_to_ids("<0xE6>")] == b"\xe6"
    assert tokens[tok.convert_tokens_to_ids("▁the")] == b" the"
    assert tokens[tok.convert_tokens_to_ids("é")] == "é".encode()
    assert tokens[tok.unk_token_id] is None


def test_a_symbol_is_the_first_byte_or_a_space_with_the_byte_behind_it() -> None:
    assert first_symbols([b"the", b" the", b" ", b"\xc3", None, b""]).tolist() == [
        ord("t"),
        256 + ord("t"),
        ord(" "),
        0xC3,
        NO_SYMBOL,
        NO_SYMBOL,
    ]


def test_a_tokenizer_whose_tokens_are_no_bytes_is_refused_in_one_line() -> None:
    inner = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1, "##b": 2}, unk_token="[UNK]"))
    inner.decoder = decoders.WordPiece()
    with pytest.raises(UserMistake, match="no stretches of bytes"):
        token_bytes(PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]"))


def test_a_tokenizer_that_changes_the_text_is_refused_in_one_line() -> None:
    tok = sentencepiece(lower=True)
    with pytest.raises(UserMistake, match="changes the public text"):
        byte_positions([b"The otter"], token_windows([b"The otter"], tok), token_bytes(tok))


def test_a_span_is_a_word_whose_ends_are_boundaries() -> None:
    tokens = [b"an", b" ot", b"ter", b" sang", b" .", b"er s", b"ang", b" ott"]
    window = b"an otter sang ."

    words = byte_positions([window], np.array([[0, 1, 2, 3, 4]], np.int32), tokens)
    across = byte_positions([window], np.array([[0, 7, 5, 6, 4]], np.int32), tokens)

    assert (words.shape.offsets, words.shape.spans) == (14, 2)
    assert words.at_R.tolist() == [1, 4, 7, 12]
    assert words.spans_S2.tolist() == [[0, 2], [2, 3]]
    assert across.spans_S2.tolist() == [[0, 0], [0, 0]]
