"""Greedy answers of a model to many prompts, in batches.

Prompts of similar length form a batch, padded at the left and masked; transformers' `generate` keeps keys and values.
In float32 an answer does not depend on the other prompts of its batch, which tests establish; in bfloat16 a near tie
may be decided differently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from transformers import GenerationConfig

from gossipllm.model.loading.models import Base
from gossipllm.text.dealing.categories import Tokens
from gossipllm.text.samples import encoded_prompts, padding_id


def answers(
    base: Base,
    prompts: Sequence[str],
    *,
    new_tokens: int,
    batch: int,
    one_line: bool,
    done: Callable[[int], None],
) -> list[str]:
    """The model's answer to each prompt, without surrounding blanks: up to the end-of-text token, `new_tokens` tokens,
    or, with `one_line`, the end of the line.

    Prompts that leave no room for an answer are cut from their left (`room`). `done` is told how many more answers are
    finished.
    """
    encoded = [one[-room(base, new_tokens) :] for one in encoded_prompts(prompts, base.tokenizer)]
    settings = _settings(base, new_tokens=new_tokens, one_line=one_line)
    written = [""] * len(encoded)
    # The longest first, so that the time left is over-estimated, and memory that does not suffice is noticed at once.
    order = sorted(range(len(encoded)), key=lambda index: -len(encoded[index]))
    for first in range(0, len(order), batch):
        members = order[first : first + batch]
        for index, text in zip(members, _written(base, [encoded[i] for i in members], settings), strict=True):
            written[index] = (text.split("\n", 1)[0] if one_line else text).strip()
        done(len(members))
    return written


def room(base: Base, new_tokens: int) -> int:
    """Most tokens of a prompt that leave room for an answer of `new_tokens` tokens; at least one."""
    return max(1, base.context_length - new_tokens)


@torch.inference_mode()
def _written(base: Base, prompts: Sequence[Tokens], settings: GenerationConfig) -> list[str]:
    length = max(1, *(len(prompt) for prompt in prompts))
    tokens_BT = np.full((len(prompts), length), padding_id(base.tokenizer), np.int64)
    mask_BT = np.zeros((len(prompts), length), np.int64)
    for row, mask, prompt in zip(tokens_BT, mask_BT, prompts, strict=True):
        row[length - len(prompt) :] = prompt
        mask[length - len(prompt) :] = 1
    found: Any = cast("Any", base.model).generate(
        input_ids=torch.tensor(tokens_BT, device=base.device),
        attention_mask=torch.tensor(mask_BT, device=base.device),
        generation_config=settings,
    )
    tokenizer: Any = base.tokenizer
    return tokenizer.batch_decode(found[:, length:], skip_special_tokens=True)


def _settings(base: Base, *, new_tokens: int, one_line: bool) -> GenerationConfig:
    """Settings for greedy answers. Those of the model's own file are removed, because `generate` fills in from them
    what is left open here (a repetition penalty, for example)."""
    tokenizer: Any = base.tokenizer
    stops: list[int] = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    if one_line:
        stops += _line_ends(tokenizer)
    make: Any = GenerationConfig
    base.model.generation_config = make()
    return make(
        max_new_tokens=new_tokens,
        do_sample=False,
        num_beams=1,
        use_cache=True,
        eos_token_id=sorted(set(stops)) or None,
        pad_token_id=padding_id(tokenizer),
    )


def _line_ends(tokenizer: Any) -> list[int]:
    """Ids of all tokens that contain a line end, not only of the line end itself: tokenizers have tokens such as
    ".\\n"."""
    texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    return [token for token, text in enumerate(texts) if "\n" in text]
