"""Generation of a model's answer, passed on token by token.

Uses `generate` of transformers, which keeps keys and values of the tokens that the model has read.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from transformers import GenerationConfig
from transformers.generation.streamers import BaseStreamer

from gossipllm.chat.decoding import StreamDecoder
from gossipllm.model.loading.models import Base
from gossipllm.randomness import words
from gossipllm.text.samples import padding_id

_COLDEST: Final = 1e-6
"""Lowest temperature at which tokens are drawn. Logits of several thousand, divided by it, are still far below the
largest float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Settings of how the tokens of an answer are chosen."""

    temperature: float = 0.8
    """Divisor of the logits, 0 to 100. At 0, or so near 0 that float32 would overflow, the likeliest token is taken.
    Guess."""

    top_p: float = 0.95
    """Share of the probability, in (0, 1]: tokens are drawn from the smallest set of likeliest tokens that have this
    share together (nucleus sampling, Holtzman et al. 2020, arXiv 1904.09751)."""

    new_tokens: int = 200
    """Maximal number of tokens of an answer, at least 1."""

    seed: int = 0
    """Seed of the draws. Equal seeds give equal answers on one machine with one version of torch."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 100:
            raise ValueError(f"temperature must be in 0..100, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], got {self.top_p}")
        if self.new_tokens < 1:
            raise ValueError(f"new_tokens must be at least 1, got {self.new_tokens}")


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """An answer of a model. `ended` is True if the model ended it with an end-of-text token, and False if it was cut
    off after `new_tokens` tokens."""

    text: str
    tokens: int
    ended: bool
    seconds: float


class ChatModel:
    """A base model as a writer of answers. While it writes, the base must not be used for anything else."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._tokenizer: Any = base.tokenizer
        model = cast("Any", base.model)
        # Some models have end tokens, such as that of a chat turn, only in their generation settings.
        self._end_ids = _token_ids(self._tokenizer.eos_token_id) | _token_ids(
            model.generation_config.eos_token_id
        )
        # `generate` would otherwise add settings from the model's own file, such as a repetition penalty.
        model.generation_config = cast("Any", GenerationConfig)()

    def answer(
        self, prompt: list[int], sampling: Sampling, number: int, on_text: Callable[[str], None]
    ) -> ChatAnswer:
        """The answer to `prompt`.

        `on_text` receives each piece of text as soon as its characters are complete. An exception that it raises ends
        the answer, as Ctrl-C does, and is passed on. `number` counts the answers of a session: equal seeds and numbers
        give equal draws.
        """
        began = time.monotonic()
        stream = _Stream(self._decoded, on_text, self._end_ids)
        tokens = torch.tensor([prompt], device=self._base.device)
        # The label is part of every seeded answer: another label would give other answers to the same seed.
        seed = int(words("gossipllm/talking", (sampling.seed, number), 1)[0])
        # `generate` draws from torch's global generator, which is restored afterwards.
        fork = cast("Any", torch.random).fork_rng
        device = self._base.device
        with fork([device] if device.type == "cuda" else []), torch.inference_mode():
            torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
            cast("Any", self._base.model).generate(
                input_ids=tokens,
                attention_mask=torch.ones_like(tokens),
                generation_config=self._settings(sampling),
                streamer=stream,
            )
        return ChatAnswer(stream.text, stream.count, stream.ended, time.monotonic() - began)

    def _decoded(self, tokens: Any) -> str:
        return self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _settings(self, sampling: Sampling) -> GenerationConfig:
        make: Any = GenerationConfig
        drawn = sampling.temperature >= _COLDEST
        # `top_k` of 0 is no limit; the default of transformers is 50.
        draws = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        return make(
            max_new_tokens=sampling.new_tokens,
            do_sample=drawn,
            use_cache=True,
            eos_token_id=sorted(self._end_ids) or None,
            pad_token_id=padding_id(self._tokenizer),
            **(draws if drawn else {}),
        )


class _Stream(BaseStreamer):
    """Receiver of the tokens of `generate`, which passes on their text. The first call brings the prompt, each later
    call one token."""

    def __init__(
        self, decode: Callable[[Any], str], on_text: Callable[[str], None], end_ids: frozenset[int]
    ) -> None:
        self._decoder = StreamDecoder(decode)
        self._on_text = on_text
        self._end_ids = end_ids
        self._prompt_seen = False
        self.text = ""
        self.count = 0
        self.ended = False

    def put(self, value: torch.Tensor) -> None:
        if not self._prompt_seen:
            self._prompt_seen = True
            return
        tokens: list[int] = cast("Any", value).flatten().tolist()
        for token in tokens:
            self.ended = token in self._end_ids
            if not self.ended:
                self.count += 1
                self._pass_on(self._decoder.push(token))

    def end(self) -> None:
        self._pass_on(self._decoder.finish())

    def _pass_on(self, piece: str) -> None:
        if piece:
            self.text += piece
            self._on_text(piece)


def _token_ids(stored: Any) -> frozenset[int]:
    """The ids in a setting of transformers, which is None, an id or a list of ids."""
    if stored is None:
        return frozenset()
    return frozenset(cast("list[int]", stored) if isinstance(stored, list) else [int(stored)])
