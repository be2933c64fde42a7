"""Text that was dealt in one model's tokens, read with the tokenizer of another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gossipllm.config import EMBEDDED
from gossipllm.model.loading.models import load_tokenizer
from gossipllm.text.dealing.partitions import Share
from gossipllm.text.windows import Splits, cut, tokenise
from sim.experiments.retokenised import retokenised

TEXT = "Où est le serveur\xa0? Il n'est pas là, répète-t-il. Voilà l'été.\n" * 12


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer(EMBEDDED, "model.name")


class ByteTokenizer:
    """A token for each byte; 256 is special."""

    def __call__(
        self, texts: list[str], *, add_special_tokens: bool, verbose: bool
    ) -> dict[str, list[list[int]]]:
        assert not add_special_tokens
        return {"input_ids": [list(text.encode()) for text in texts]}

    def batch_decode(self, ids: list[list[int]], *, skip_special_tokens: bool) -> list[str]:
        assert skip_special_tokens
        return [bytes(one for one in window if one < 256).decode(errors="replace") for window in ids]


def share_of(tokenizer: Any, text: str = TEXT, length: int = 8) -> Share:
    windows_WT = cut(tokenise([text], tokenizer), length)
    third = len(windows_WT) // 3
    splits = Splits(windows_WT[:third], windows_WT[third : 2 * third], windows_WT[2 * third :])
    return Share(splits, np.array([0, splits.train_WT.size]))


def bytes_of(windows: Any) -> bytes:
    return bytes(windows.ravel().tolist())


def test_every_split_has_the_same_text_in_tokens_of_its_own(tokenizer: Any) -> None:
    share = share_of(tokenizer)

    made = retokenised(share, tokenizer, ByteTokenizer())

    assert made.splits.train_WT.shape[1] == 8
    for before, after in (
        (share.splits.train_WT, made.splits.train_WT),
        (share.splits.trust_WT, made.splits.trust_WT),
        (share.splits.test_WT, made.splits.test_WT),
    ):
        # A character that a window cuts apart is left out, and the last bytes fill no window.
        text = "".join(tokenizer.batch_decode(before.tolist(), skip_special_tokens=True)).replace(
            "\ufffd", ""
        )
        assert text.encode().startswith(bytes_of(after))
        assert len(text.encode()) - after.size < 8


def test_its_tokens_are_counted_in_the_new_tokenizer(tokenizer: Any) -> None:
    made = retokenised(share_of(tokenizer), tokenizer, ByteTokenizer())

    assert made.tokens_C.tolist() == [0, made.splits.train_WT.size]
