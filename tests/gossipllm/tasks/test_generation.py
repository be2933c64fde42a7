"""Tests of greedy answers, against a loop that passes the whole text through the model again for each token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch

from gossipllm.model.loading.models import Base
from gossipllm.tasks.generation import answers, room
from gossipllm.text.samples import encoded_prompts
from support.progress import silent

PROMPTS = [
    "The heron",
    "",
    "In the year 1500 the otter of Lisbon sang 3 times ere winter",
    "The badger of Zadar",
]


def written(
    base: Base,
    prompts: list[str],
    *,
    new_tokens: int = 12,
    batch: int = 4,
    one_line: bool = False,
    done: Callable[[int], None] = silent,
) -> list[str]:
    return answers(base, prompts, new_tokens=new_tokens, batch=batch, one_line=one_line, done=done)


def one_by_one(base: Base, prompt: str, new_tokens: int) -> str:
    tokenizer: Any = base.tokenizer
    ids = encoded_prompts([prompt], tokenizer)[0].tolist()
    start = len(ids)
    with torch.inference_mode():
        for _ in range(new_tokens):
            logits = cast("Any", base.model)(input_ids=torch.tensor([ids]), use_cache=False).logits
            ids.append(int(logits[0, -1].argmax()))
            if ids[-1] == tokenizer.eos_token_id:
                break
    return tokenizer.decode(ids[start:], skip_special_tokens=True).strip()


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_a_batch_gives_the_answers_that_each_prompt_gives_alone(
    base: Callable[..., Base], family: str
) -> None:
    model = base(family)

    together = written(model, PROMPTS)

    assert together == [one_by_one(model, prompt, 12) for prompt in PROMPTS]
    assert together == written(model, PROMPTS, batch=1)
    assert len(set(together)) > 1, "a model that always says the same shows nothing"


def test_the_generation_settings_of_a_model_are_ignored(base: Callable[..., Base]) -> None:
    model = base()
    plain = written(model, PROMPTS)
    for name, value in (("do_sample", True), ("temperature", 9.0), ("repetition_penalty", 5.0)):
        setattr(cast("Any", model.model).generation_config, name, value)

    assert written(model, PROMPTS) == plain


def test_an_answer_ends_with_the_text_or_its_line(base: Callable[..., Base]) -> None:
    model = base()
    tokenizer: Any = model.tokenizer
    (line,) = tokenizer("\n")["input_ids"]

    assert written(_saying(model, [70, 71, tokenizer.eos_token_id, 72]), ["a"]) == [
        tokenizer.decode([70, 71])
    ]
    assert written(_saying(model, [70, line, 71, 72]), ["a"], one_line=True) == [tokenizer.decode([70])]
    longer = written(_saying(model, [70, line, 71, 72]), ["a"], new_tokens=4)
    assert longer == [tokenizer.decode([70, line, 71, 72])]


def test_progress_counts_every_prompt_once(base: Callable[..., Base]) -> None:
    finished: list[int] = []

    written(base(), PROMPTS, batch=3, done=finished.append)

    assert finished == [3, 1]


def test_a_prompt_without_room_for_an_answer_loses_its_beginning(base: Callable[..., Base]) -> None:
    model = base()
    tokenizer: Any = model.tokenizer
    ids = encoded_prompts(["The otter of Lisbon sang. " * 40], tokenizer)[0].tolist()
    kept = torch.tensor([ids[-room(model, 20) :]])
    assert kept.shape == (1, 44)
    with torch.inference_mode():
        first = int(cast("Any", model.model)(input_ids=kept).logits[0, -1].argmax())

    (answer,) = written(model, ["The otter of Lisbon sang. " * 40], new_tokens=20)

    assert answer.startswith(tokenizer.decode([first]).strip())


def _saying(base: Base, tokens: list[int]) -> Base:
    """The base, changed to write these tokens in a cycle whatever it reads."""
    start: list[int] = []

    def forced(module: Any, args: Any, kwargs: Any, output: Any) -> Any:
        start.append(1)
        output.logits[..., :] = 0
        output.logits[..., tokens[(len(start) - 1) % len(tokens)]] = 1
        return output

    model = cast("Any", base.model)
    for handle in list(model._forward_hooks):
        del model._forward_hooks[handle]
    model.register_forward_hook(forced, with_kwargs=True)
    return base
