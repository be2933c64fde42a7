"""Greedy answers of a model, many at a time.

Contexts of about one length go together, filled up at the left and masked; transformers' `generate` keeps the keys and
values of what was read. In float32 an answer does not depend on which others are written beside it, which tests
establish; in bfloat16 a near tie may fall differently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from transformers import GenerationConfig

from gossipllm.model.loading.models import Base
from gossipllm.text.categories import Tokens
from gossipllm.text.samples import encoded_contexts, padding_id


def answers(
    base: Base,
    contexts: Sequence[str],
    *,
    new_tokens: int,
    batch: int,
    one_line: bool,
    done: Callable[[int], None],
) -> list[str]:
    """What the model writes after each context, without surrounding blanks: up to the end of text, to `new_tokens`
    tokens, or, with `one_line`, to the end of the line.

    Contexts that leave no room for an answer are cut from their left (`room`). `done` is told how many are finished.
    """
    prompts = [one[-room(base, new_tokens) :] for one in encoded_contexts(contexts, base.tokenizer)]
    settings = _settings(base, new_tokens=new_tokens, one_line=one_line)
    written = [""] * len(prompts)
    # The longest first, so that the time left is over-estimated, and memory runs out at once if it does.
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    for first in range(0, len(order), batch):
        members = order[first : first + batch]
        for index, text in zip(members, _written(base, [prompts[i] for i in members], settings), strict=True):
            written[index] = (text.split("\n", 1)[0] if one_line else text).strip()
        done(len(members))
    return written


def room(base: Base, new_tokens: int) -> int:
    """Tokens that a context may have before an answer of that length; at least one."""
    return max(1, base.context - new_tokens)


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
    """Greedy whatever the model's own file says, which `generate` would otherwise fill in."""
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
    """The tokens that end a line."""
    texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    return [token for token, text in enumerate(texts) if "\n" in text]
