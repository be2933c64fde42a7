"""Tests of documents, windows and the reference set: which text is refused, and which parts never overlap."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
import pytest

from gossipllm import base
from gossipllm.config import EMBEDDED, DataConfig, ReferenceConfig
from gossipllm.model.loading.models import load_tokenizer
from gossipllm.text.reference import demo_share, load_reference
from gossipllm.text.windows import cut, load_splits, split, tokenise
from trust.errors import UserMistake

Tok = Any


def splits(path: Path, tokenizer: Tok, *, seed: int = 0, context_length: int = 64, **options: Any):
    given: dict[str, Any] = {"window_tokens": 16, **options}
    config = DataConfig(path=str(path), **given)
    return load_splits(config, tokenizer, context_length=context_length, seed=seed)


def test_the_three_splits_share_no_window_and_lose_none() -> None:
    windows = np.arange(100 * 8, dtype=np.int32).reshape(100, 8)

    dealt = split(windows, DataConfig(trust_fraction=0.2, test_fraction=0.1), seed=3)

    assert (len(dealt.train_WT), len(dealt.trust_WT), len(dealt.test_WT)) == (70, 20, 10)
    together = np.concatenate([dealt.train_WT, dealt.trust_WT, dealt.test_WT])
    assert sorted(together[:, 0].tolist()) == windows[:, 0].tolist()


def test_equal_seeds_give_equal_splits_and_another_seed_others(text_file: Path, tokenizer: Tok) -> None:
    first, again, other = (splits(text_file, tokenizer, seed=seed) for seed in (1, 1, 2))

    assert np.array_equal(first.test_WT, again.test_WT)
    assert not np.array_equal(first.test_WT, other.test_WT)


def test_the_end_token_stands_behind_each_document(tokenizer: Tok) -> None:
    end = tokenizer.eos_token_id

    stream = tokenise(["an otter", "a heron"], tokenizer)

    assert stream[-1] == end
    assert (stream == end).sum() == 2
    assert tokenizer.decode(stream) == "an otter<|end|>a heron<|end|>"


def test_an_incomplete_window_is_dropped() -> None:
    assert cut(np.arange(10, dtype=np.int32), 4).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_too_little_text_says_how_much_is_needed(tmp_path: Path, tokenizer: Tok) -> None:
    (tmp_path / "a.txt").write_text("The otter of Lisbon sang.")

    with pytest.raises(UserMistake, match="at least 80 tokens of text are needed"):
        splits(tmp_path / "a.txt", tokenizer)


def test_a_window_longer_than_the_model_can_read_is_a_user_error(text_file: Path, tokenizer: Tok) -> None:
    with pytest.raises(UserMistake, match="window_tokens is 65, but the model takes at most 64"):
        splits(text_file, tokenizer, window_tokens=65)


class ReferenceOptions(TypedDict, total=False):
    source: str
    seed: str
    windows: int
    window_tokens: int
    window_bytes: int
    top: int


def reference(tokenizer: Tok, **options: Unpack[ReferenceOptions]):
    given: ReferenceOptions = {"windows": 12, "window_tokens": 8, "window_bytes": 0, "top": 4, **options}
    config = ReferenceConfig(**given)
    return load_reference(config, tokenizer, context_length=64, vocabulary=320)


def test_the_embedded_reference_set_takes_all_five_texts_equally(tokenizer: Tok) -> None:
    windows = reference(tokenizer).windows_WT

    assert windows.shape == (12, 8)
    texts = [base.corpus_file(name).read_text(encoding="utf-8") for name in base.CORPORA]
    pieces = [tokenizer.decode(w).replace("<|end|>", "\n").strip("\n\ufffd") for w in windows]
    counts = [sum(piece in text for piece in pieces) for text in texts]
    assert all(count >= 2 for count in counts), "12 windows of 5 texts are 3, 3, 2, 2, 2"


@pytest.mark.parametrize(
    "changed", [{"seed": "x"}, {"top": 5}, {"windows": 11}, {"window_tokens": 9}, {"window_bytes": 16}]
)
def test_every_setting_of_the_reference_set_changes_its_fingerprint(
    tokenizer: Tok, changed: ReferenceOptions
) -> None:
    assert reference(tokenizer).fingerprint == reference(tokenizer).fingerprint
    assert reference(tokenizer).fingerprint != reference(tokenizer, **changed).fingerprint


def test_the_path_of_a_reference_text_does_not_change_its_fingerprint(
    tmp_path: Path, text_file: Path, tokenizer: Tok
) -> None:
    copy = tmp_path / "copy.txt"
    copy.write_text(text_file.read_text())

    ours, theirs = (reference(tokenizer, source=str(file)) for file in (text_file, copy))

    assert ours.fingerprint == theirs.fingerprint


def test_a_reference_text_that_is_too_short_says_so(tmp_path: Path, tokenizer: Tok) -> None:
    (tmp_path / "a.txt").write_text("The otter of Lisbon sang.")

    with pytest.raises(UserMistake, match="12 are wanted"):
        reference(tokenizer, source=str(tmp_path / "a.txt"))


@pytest.mark.parametrize("name", base.CORPORA)
def test_demonstration_parts_and_reference_text_are_the_whole_and_disjoint(name: str) -> None:
    lines = base.corpus_file(name).read_text(encoding="utf-8").splitlines()
    parts = [demo_share(name, part=part, of=3).splitlines() for part in range(3)]

    count = sum(map(len, parts))
    assert sorted(line for part in parts for line in part) == sorted(lines[:count])
    left = sum(len(line) + 1 for line in lines[count:])
    assert 0.1 <= left / sum(len(line) + 1 for line in lines) < 0.15
    sizes = [sum(map(len, part)) for part in parts]
    assert max(sizes) - min(sizes) < 12_000


def test_the_splits_of_homes_that_earlier_versions_made_are_kept(tmp_path: Path) -> None:
    """The digests are those of 0.1.0, which read .txt and .jsonl only."""
    tokenizer = load_tokenizer(EMBEDDED, "model.name")
    french, german = (base.corpus_file(name).read_text(encoding="utf-8") for name in ("fr", "de"))
    folder = tmp_path / "notes"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"\xef\xbb\xbf" + french.encode())
    (folder / "c.txt").write_bytes(base.corpus_file("java").read_bytes())
    (folder / "sub" / "b.txt").write_bytes(german.replace("\n", "\r\n\r\n").encode())
    records = tmp_path / "own.jsonl"
    records.write_text("\n".join(json.dumps({"text": line}) for line in french.splitlines() if line.strip()))

    for path, digest in ((folder, "4a2f744a68e6c020"), (records, "028709e3a8bf93da")):
        made = splits(path, tokenizer, seed=3, context_length=256, window_tokens=64)
        dealt = (made.train_WT, made.trust_WT, made.test_WT)
        assert (
            hashlib.sha256(b"".join(part.astype("<i4").tobytes() for part in dealt)).hexdigest()[:16]
            == digest
        )
