"""Tests of the prompts made of conversations: by chat template or as one text, and never above the token limit."""

from __future__ import annotations

from typing import Any, cast

import pytest

from gossipllm.chat.conversation import Conversation
from gossipllm.model.loading.models import Base
from trust.errors import UserMistake


def text_of(base: Base, conversation: Conversation, max_tokens: int = 10_000) -> str:
    return cast("Any", base.tokenizer).decode(conversation.prompt(max_tokens).tokens)


def test_turns_go_through_the_template(base: Base) -> None:
    conversation = Conversation(base)
    conversation.ask("the otter")
    conversation.answered("sang")
    conversation.ask("why")

    assert conversation.templated
    assert text_of(base, conversation) == "user: the otter\nassistant: sang\nuser: why\n"


def test_a_model_without_a_template_continues_one_text(base: Base) -> None:
    base.tokenizer.chat_template = None
    conversation = Conversation(base)
    conversation.ask("the otter")
    conversation.answered(" sang")
    conversation.ask("the heron")

    assert not conversation.templated
    assert text_of(base, conversation).removeprefix("<|end|>") == "the otter sang\nthe heron"


def test_plain_ignores_the_template(base: Base) -> None:
    assert not Conversation(base, plain=True).templated


def test_the_oldest_question_is_left_out_with_its_answer(base: Base) -> None:
    conversation = Conversation(base)
    for animal in ("otter", "heron", "badger"):
        conversation.ask(animal)
        conversation.answered("slept")
    conversation.ask("why")
    whole = conversation.prompt(10_000)

    shorter = conversation.prompt(len(whole.tokens) - 1)

    assert (whole.cut, shorter.cut) == (False, True)
    assert text_of(base, conversation, len(whole.tokens) - 1).startswith("user: heron")


@pytest.mark.parametrize("plain", [True, False])
def test_a_question_that_is_too_long_loses_its_beginning(base: Base, plain: bool) -> None:
    conversation = Conversation(base, plain=plain)
    conversation.ask("the badger danced ere the rain came " * 20 + "to Zadar")

    found = conversation.prompt(12)

    assert (len(found.tokens), found.cut) == (12, True)
    assert text_of(base, conversation, 12).strip().endswith("to Zadar")


def test_a_reset_forgets_everything(base: Base) -> None:
    conversation = Conversation(base)
    conversation.ask("the otter")
    conversation.reset()
    conversation.ask("why")

    assert text_of(base, conversation) == "user: why\n"


def test_a_template_that_refuses_the_turns_is_a_user_error(base: Base) -> None:
    base.tokenizer.chat_template = "{{ raise_exception('no such roles') }}"
    conversation = Conversation(base)
    conversation.ask("why")

    with pytest.raises(UserMistake, match="refuses this conversation"):
        conversation.prompt(100)
