"""What a peer's text will be, before a model is loaded: the account that `gossipllm init` and `doctor` print.

All text is read, and every conversation goes through the chat template, so that whatever a run would refuse is refused
here. Tokens are exact for a text of up to `_EXACT` characters; of a longer one a sample is tokenised.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from gossipllm.config import DataConfig
from gossipllm.text.reading.account import TextAccount
from gossipllm.text.reading.corpus import Document
from gossipllm.text.tokens import document_tokens
from gossipllm.text.windows import accounted, dealt, reader_of

_EXACT: Final = 1_000_000
"""Characters that are tokenised whole: half a second on one processor. Four times as many took 40 MB more."""


def examined(config: DataConfig, tokenizer: Any) -> TextAccount:
    """The account of a peer's text. Raises `UserMistake` where a run would."""
    reader = reader_of(config, tokenizer)
    sample = _Sample()
    for document in reader.documents():
        sample.add(document)
    account = reader.account
    tokens = list(document_tokens(sample.documents, tokenizer))
    if sample.stride == 1:
        windows_WT, account = accounted(tokens, account, config.window_tokens)
        return dealt(account, config, len(windows_WT))
    scale = account.characters / sum(len(document.text) for document in sample.documents)
    read = sum(map(len, tokens))
    estimated = replace(
        account,
        tokens=round(scale * read),
        bearing=round(scale * sum(int((one >= 0).sum()) for one in tokens)),
        estimated=True,
    )
    return dealt(estimated, config, estimated.tokens // config.window_tokens)


class _Sample:
    """Every `stride`-th document, where the stride grows with the text so that the sample stays small."""

    def __init__(self) -> None:
        self.documents: list[Document] = []
        self.stride = 1
        self._seen = self._characters = 0

    def add(self, document: Document) -> None:
        if self._seen % self.stride == 0:
            self.documents.append(document)
            self._characters += len(document.text)
        self._seen += 1
        # A single document is never dropped, however long.
        while self._characters > _EXACT and len(self.documents) > 1:
            self.stride *= 2
            self.documents = self.documents[::2]
            self._characters = sum(len(one.text) for one in self.documents)
