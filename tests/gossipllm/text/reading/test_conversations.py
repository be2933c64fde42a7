"""Tests of conversations: which part is an answer, for templates as models are published with them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from gossipllm.text.reading.conversations import ConversationWriter, TemplateRefusalError
from support.templates import (
    CHATML,
    FORGETFUL,
    MARKED,
    MARKED_BLOCKS,
    MARKED_LINES,
    NO_SYSTEM,
    NO_TOOLS,
    SILENT_SYSTEM,
    TOOLS,
    with_template,
)

Tok = Any


def turn(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


TALK = [turn("user", "Hi"), turn("assistant", "Ho"), turn("user", "Bye"), turn("assistant", "So long")]
SYSTEM = turn("system", "Be kind")


def writer(tokenizer: Tok, template: str) -> ConversationWriter:
    return ConversationWriter(with_template(tokenizer, template))


def answers(tokenizer: Tok, template: str, messages: list[dict[str, Any]], **options: Any) -> list[str]:
    written = writer(tokenizer, template).written(messages, **options)
    return [written.text[start:end] for start, end in written.answers]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (CHATML, ["Ho<|end|>\n", "So long<|end|>\n"]),
        (MARKED, ["Ho.", "So long."]),
        (MARKED_LINES, ["Ho.", "So long."]),
        (MARKED_BLOCKS, ["Ho.\n", "So long.\n"]),
        (FORGETFUL, ["Ho<|end|>", "\n</think>\nSo long<|end|>\n"]),
        (TOOLS, ["Ho\n", "So long\n"]),
        (NO_SYSTEM, ["assistant: Ho\n", "assistant: So long\n"]),
    ],
)
def test_answers_are_found_whatever_the_template_lets_one_know(
    tokenizer: Tok, template: str, expected: list[str]
) -> None:
    assert answers(tokenizer, template, TALK) == expected


@pytest.mark.parametrize("template", [MARKED, MARKED_LINES, MARKED_BLOCKS])
def test_marks_are_found_where_the_library_finds_them(tokenizer: Tok, template: str) -> None:
    render: Any = import_module("transformers.utils.chat_template_utils").render_jinja_template
    text, marks = render(conversations=[TALK], chat_template=template, return_assistant_tokens_mask=True)

    written = writer(tokenizer, template).written(TALK)

    assert written.text == text[0]
    assert [list(span) for span in written.answers] == [list(span) for span in marks[0]]


def test_a_question_at_the_end_has_no_answer(tokenizer: Tok) -> None:
    assert answers(tokenizer, CHATML, TALK[:3]) == ["Ho<|end|>\n"]


@pytest.mark.parametrize("template", [NO_SYSTEM, SILENT_SYSTEM])
def test_a_system_turn_that_the_template_does_not_take_is_put_before_the_question(
    tokenizer: Tok, template: str
) -> None:
    written = writer(tokenizer, template).written([SYSTEM, *TALK])

    assert written.text.startswith("user: Be kind\n\nHi\nassistant: Ho\n")
    assert written.folded
    assert not written.changed


def test_a_system_turn_that_the_template_takes_stays(tokenizer: Tok) -> None:
    written = writer(tokenizer, CHATML).written([SYSTEM, *TALK])

    assert written.text.startswith("<|end|>system\nBe kind<|end|>")
    assert not written.folded


def test_a_template_that_refuses_a_role_is_quoted_with_that_role(tokenizer: Tok) -> None:
    with pytest.raises(TemplateRefusalError) as caught:
        writer(tokenizer, NO_TOOLS).written([TALK[0], turn("tool", "42"), TALK[1]])

    assert 'refuses the turn of role "tool": Only user and assistant roles are supported!' in str(
        caught.value
    )


def test_a_template_that_fails_over_a_message_is_quoted_too(tokenizer: Tok) -> None:
    broken = "{% for m in messages %}{{ m['content'] + m['missing'] + 1 }}{% endfor %}"

    with pytest.raises(TemplateRefusalError, match='role "user"'):
        writer(tokenizer, broken).written(TALK)


def test_a_call_of_a_tool_is_an_answer_and_the_tools_stand_before_it(tokenizer: Tok) -> None:
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    asked = turn("assistant", "", tool_calls=[call])
    written = writer(tokenizer, TOOLS).written(
        [TALK[0], asked, turn("tool", "42"), TALK[1]], [{"function": {"name": "add"}}]
    )

    assert written.text.startswith('tools: [{"function": {"name": "add"}}]\n')
    assert [written.text[start:end] for start, end in written.answers] == ['call add{"a": 1}\n', "Ho\n"]
    assert not written.changed


def test_a_template_that_leaves_a_call_out_is_noticed(tokenizer: Tok) -> None:
    asked = turn("assistant", "", tool_calls=[{"type": "function", "function": {"name": "add"}}])

    assert writer(tokenizer, NO_SYSTEM).written([TALK[0], asked]).changed


def test_special_tokens_in_what_a_message_says_are_marked_as_plain_text(tokenizer: Tok) -> None:
    written = writer(tokenizer, CHATML).written(
        [turn("user", "what is <|end|>?"), turn("assistant", "<|end|> ends, as in a<|end|>")]
    )

    assert written.text == (
        "<|end|>user\nwhat is <|end|>?<|end|>\n<|end|>assistant\n<|end|> ends, as in a<|end|><|end|>\n"
    )
    assert [written.text[:start].count("<|end|>") for start, _ in written.literal] == [1, 4, 5]
    (answer,) = written.answers
    assert written.text[slice(*answer)] == "<|end|> ends, as in a<|end|><|end|>\n"


def test_a_template_that_hides_answers_is_refused_with_the_way_out(tokenizer: Tok) -> None:
    hiding = "{% for m in messages %}{{ loop.length ~ m['role'] ~ (m['content'] | length) }}{% endfor %}"

    with pytest.raises(TemplateRefusalError, match=r'data\.loss = "all"'):
        writer(tokenizer, hiding).written(TALK)
    assert writer(tokenizer, hiding).written(TALK, answers=False).changed


def test_a_prompt_ends_where_the_answer_begins(tokenizer: Tok) -> None:
    assert writer(tokenizer, CHATML).prompt(TALK[:1]) == "<|end|>user\nHi<|end|>\n<|end|>assistant\n"
    assert writer(tokenizer, NO_SYSTEM).prompt([SYSTEM, TALK[0]]) == "user: Be kind\n\nHi\n"
