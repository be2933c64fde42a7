"""The embedded model's tokenizer: byte-level BPE, so that any text in any language round-trips.

It is made once, from English prose; French, German, Italian and Java cost it more tokens a byte,
which is part of what the adapters have to learn. Nothing normalises the text: what is decoded is
what was encoded, byte for byte.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

Tokens = NDArray[np.uint16]

VOCABULARY_SIZE = 4096
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
"""One line a turn, as in a printed dialogue: the base model has never seen a chat, and plain words
cost it fewer surprises than markers would. `generation` lets a loss fall on the answers alone. The
space before an answer belongs to the answer: it is part of the first word's token."""

_DOCUMENTS_A_BATCH = 512


def make_tokenizer(corpus: Path, *, size: int = VOCABULARY_SIZE) -> PreTrainedTokenizerFast:
    """Trained on a text file; id 0 ends and begins a text, id 1 pads."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END_OF_TEXT, PADDING],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train([str(corpus)], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=PADDING,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """`tokenizer.json` and `tokenizer_config.json`, the same bytes on every machine."""
    tokenizer.save_pretrained(folder, save_jinja_files=False)  # pyright: ignore[reportUnknownMemberType]
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    for circumstance in ("backend", "is_local", "local_files_only", "model_max_length"):
        settings.pop(circumstance, None)  # how it was loaded, and a limit it does not have
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"  # transformers 4 knows it too
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def token_streams(corpus: Path, out: Path) -> tuple[PreTrainedTokenizerFast, Tokens, Tokens]:
    """Tokenizer, training and validation tokens: made in `out` once, read back after that."""
    folder = out / "tokenizer"
    if not folder.exists():
        save_tokenizer(make_tokenizer(corpus / "train.txt"), folder)
    tokenizer = load_tokenizer(folder)
    for name in ("train", "validation"):
        path = out / f"{name}.npy"
        if not path.exists():
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
    """All documents of a file (one a line) as one stream, `<|endoftext|>` behind each."""
    lines = corpus.read_text(encoding="utf-8").splitlines()
    end = np.array([tokenizer.backend_tokenizer.token_to_id(END_OF_TEXT)], np.uint16)
    pieces: list[Tokens] = []
    for first in range(0, len(lines), _DOCUMENTS_A_BATCH):
        batch = lines[first : first + _DOCUMENTS_A_BATCH]
        for encoding in tokenizer.backend_tokenizer.encode_batch(batch):
            pieces += [np.array(encoding.ids, np.uint16), end]
    return np.concatenate(pieces)


def bytes_per_token(tokenizer: PreTrainedTokenizerFast) -> NDArray[np.int64]:
    """`(V,)`: how many bytes of text each token stands for; special tokens stand for none.

    Byte-level BPE writes each byte as one printable character, so the length of a token's name
    is the number of its bytes.
    """
    lengths = np.zeros(len(tokenizer), np.int64)
    for name, token in tokenizer.get_vocab().items():
        if name not in (END_OF_TEXT, PADDING):
            lengths[token] = len(name)
    return lengths
