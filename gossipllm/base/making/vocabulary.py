"""The tokenizers of the embedded models: byte-level BPE, so that text in any language round-trips.

They are trained on English prose. French, German, Italian and Java take more tokens per byte, which is part of what the
adapters have to learn. The text is not normalised: decoding returns what was encoded, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

Tokens = NDArray[np.uint16]

END_OF_TEXT = "<|endoftext|>"
PADDING = "<|pad|>"

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'assistant' -%}"
    "{{- 'assistant:' -}}"
    "{%- generation -%}{{- ' ' + message['content'] + eos_token -}}{%- endgeneration -%}"
    "{{- '\\n' -}}"
    "{%- else -%}"
    "{{- message['role'] + ': ' + message['content'] + '\\n' -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- 'assistant:' -}}{%- endif -%}"
)
"""Chat template with one line for each turn, as in a printed dialogue: the base model's training data hold no chats,
and plain words are less unlikely to it than special markers. The `generation` block lets training put the loss on the
answers only. The space before an answer belongs to the answer, because it is part of the token of the first word."""

_DOCUMENTS_A_BATCH = 512


def make_tokenizer(texts: Iterable[str], *, size: int) -> PreTrainedTokenizerFast:
    """Train a tokenizer on texts or lines of them. Id 0 is the beginning and the end of a text, id 1 is padding."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END_OF_TEXT, PADDING],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=PADDING,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`, with the same bytes on every machine."""
    tokenizer.save_pretrained(folder, save_jinja_files=False)  # pyright: ignore[reportUnknownMemberType]
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    for circumstance in ("backend", "is_local", "local_files_only", "model_max_length"):
        settings.pop(circumstance, None)  # how the tokenizer was loaded, and a limit that it does not have
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"  # a class that transformers 4 has too
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def token_streams(
    corpus: Path, out: Path, make: Callable[[Path], PreTrainedTokenizerFast]
) -> tuple[PreTrainedTokenizerFast, Tokens, Tokens]:
    """Tokenizer, training tokens and validation tokens. The first call saves them in `out`, later calls load them.

    `make` gives the tokenizer for a training text.
    """
    folder = out / "tokenizer"
    if not folder.exists():
        save_tokenizer(make(corpus / "train.txt"), folder)
    tokenizer = load_tokenizer(folder)
    for name in ("train", "validation"):
        path = out / f"{name}.npy"
        if not path.exists():
            # Renamed when complete: a file left by an interrupted run would be taken for the whole stream.
            temporary = path.with_suffix(".new.npy")
            np.save(temporary, encode(tokenizer, corpus / f"{name}.txt"))
            temporary.replace(path)
    train: Tokens = np.load(out / "train.npy")
    validation: Tokens = np.load(out / "validation.npy")
    return tokenizer, train, validation


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    loaded = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return cast("PreTrainedTokenizerFast", loaded)


def encode(tokenizer: PreTrainedTokenizerFast, corpus: Path) -> Tokens:
    """The tokens of all documents of a file, one document a line, each followed by `<|endoftext|>`."""
    lines = corpus.read_text(encoding="utf-8").splitlines()
    end = np.array([tokenizer.backend_tokenizer.token_to_id(END_OF_TEXT)], np.uint16)
    pieces: list[Tokens] = []
    for first in range(0, len(lines), _DOCUMENTS_A_BATCH):
        batch = lines[first : first + _DOCUMENTS_A_BATCH]
        for encoding in tokenizer.backend_tokenizer.encode_batch(batch):
            pieces += [np.array(encoding.ids, np.uint16), end]
    return np.concatenate(pieces)


def bytes_per_token(tokenizer: PreTrainedTokenizerFast) -> NDArray[np.int64]:
    """`(V,)`: the number of bytes of text in each token; 0 for special tokens.

    Byte-level BPE writes each byte as one printable character, so that the length of a token's name is the number of
    its bytes.
    """
    lengths = np.zeros(len(tokenizer), np.int64)
    for name, token in tokenizer.get_vocab().items():
        if name not in (END_OF_TEXT, PADDING):
            lengths[token] = len(name)
    return lengths
