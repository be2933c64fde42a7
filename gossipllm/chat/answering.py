"""A model's answer, passed on while it is written. Uses transformers' `generate`, which keeps keys and values."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from transformers import GenerationConfig
from transformers.generation.streamers import BaseStreamer

from gossipllm.chat.decoding import Decoding
from gossipllm.model.loading.models import Base
from gossipllm.randomness import words
from gossipllm.text.samples import padding_id

_COLDEST: Final = 1e-6
"""Lowest temperature at which tokens are drawn: logits of thousands divided by it still fit float32 by far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are chosen."""

    temperature: float = 0.8
    """Divides the logits, 0 to 100; at 0, or so near 0 that float32 would overflow, always the likeliest token.
    Guess."""

    top_p: float = 0.95
    """Tokens are drawn from the likeliest ones that have this share of the probability together, in (0, 1]
    (1904.09751)."""

    new_tokens: int = 200
    """Most tokens of an answer, at least 1."""

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
    """One answer. `ended` says that the model ended it with an end-of-text token, before `new_tokens` were written."""

    text: str
    tokens: int
    ended: bool
    seconds: float


class Speaker:
    """A model that writes answers. While it does, the model must not be used elsewhere."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._tokenizer: Any = base.tokenizer
        model = cast("Any", base.model)
        self._stops = _stops(self._tokenizer.eos_token_id) | _stops(model.generation_config.eos_token_id)
        # `generate` would otherwise fill in settings of the model's own file, such as a repetition penalty.
        model.generation_config = cast("Any", GenerationConfig)()

    def answer(
        self, prompt: list[int], sampling: Sampling, number: int, tell: Callable[[str], None]
    ) -> ChatAnswer:
        """The answer to `prompt`. `tell` receives each piece of text as soon as its characters are complete; an
        exception that it raises, and Ctrl-C, end the answer. `number` counts the answers of a session: equal seeds
        and numbers give equal draws."""
        began = time.monotonic()
        stream = _Stream(self._decoded, tell, self._stops)
        tokens = torch.tensor([prompt], device=self._base.device)
        seed = int(words("gossipllm/talking", (sampling.seed, number), 1)[0])
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
        draws = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        return make(
            max_new_tokens=sampling.new_tokens,
            do_sample=drawn,
            use_cache=True,
            eos_token_id=sorted(self._stops) or None,
            pad_token_id=padding_id(self._tokenizer),
            **(draws if drawn else {}),
        )


class _Stream(BaseStreamer):
    """Receives the tokens of `generate`: the prompt in the first call, then a token a call."""

    def __init__(
        self, decode: Callable[[Any], str], tell: Callable[[str], None], stops: frozenset[int]
    ) -> None:
        self._decoding = Decoding(decode)
        self._tell = tell
        self._stops = stops
        self._begun = False
        self.text = ""
        self.count = 0
        self.ended = False

    def put(self, value: torch.Tensor) -> None:
        if not self._begun:
            self._begun = True
            return
        tokens: list[int] = cast("Any", value).flatten().tolist()
        for token in tokens:
            self.ended = token in self._stops
            if not self.ended:
                self.count += 1
                self._told(self._decoding.more(token))

    def end(self) -> None:
        self._told(self._decoding.end())

    def _told(self, piece: str) -> None:
        if piece:
            self.text += piece
            self._tell(piece)


def _stops(found: Any) -> frozenset[int]:
    """Ids of tokens that end an answer: transformers stores None, an id or a list."""
    if found is None:
        return frozenset()
    return frozenset(cast("list[int]", found) if isinstance(found, list) else [int(found)])
