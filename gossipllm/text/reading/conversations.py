"""A conversation by the tokenizer's chat template: its text, and which parts of it are answers.

Answers are what a model learns to write. Where the template marks them (`{% generation %}`), the marks say where they
are. Else the text before an answer is the conversation so far with the template's beginning of an answer, and the text
up to its end the conversation with it. Some templates write an earlier turn differently once another follows (they
drop its reasoning). There an answer is found by writing a sign in its place.

A template may refuse a system turn, or leave it out in silence. It is then put before the first question.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from jinja2 import TemplateError

from gossipllm.text.reading.marks import Span, has_marks, signed_parts, signing
from gossipllm.text.reading.messages import ASSISTANT, SYSTEM, USER

Messages = Sequence[dict[str, Any]]

_FAULTS: Final = (TemplateError, TypeError, ValueError, KeyError, AttributeError, IndexError)
"""What templates raise: by their own words, or because they cannot handle what a message holds or lacks."""

_SIGN: Final = "\ue0f2"
"""A character of the private-use area, which no text holds, in the place of an answer."""

_HIDDEN: Final = re.compile("\ue0f0(\\d+)\ue0f1")
"""A special token that stands in a message's own text, while the template writes the others."""


class TemplateRefusalError(ValueError):
    """The template refuses the conversation: the role of the message and the template's own words."""


@dataclass(frozen=True, slots=True)
class WrittenConversation:
    """A conversation as text. `answers` are the parts that are answers, in order; `literal` the places where a
    message's own text holds the name of a special token, which is no special token there."""

    text: str
    answers: tuple[Span, ...]
    literal: tuple[Span, ...] = ()
    folded: bool = False
    """Whether a system turn was put before a question."""
    changed: bool = False
    """Whether the text lacks something that a message says."""


class ConversationWriter:
    """Writes conversations by the chat template of one tokenizer, which must have one."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        template: Any = tokenizer.chat_template
        self._marked = has_marks(str(template))
        self._specials = special_tokens(tokenizer)
        alternatives = sorted(self._specials, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, alternatives)) or r"(?!)")

    def written(
        self, messages: Messages, tools: Sequence[dict[str, Any]] = (), *, answers: bool = True
    ) -> WrittenConversation:
        """The conversation as text, without `answers` where these are not wanted. Raises `TemplateRefusalError`."""
        hidden: list[str] = []
        safe = [self._hide(message, hidden) for message in messages]
        text, kept = self._accepted(safe, tools)
        return _restored(
            WrittenConversation(
                text,
                tuple(self._answers(kept, tools, text)) if answers else (),
                folded=len(kept) < len(safe),
                changed=any(not _says(text, message) for message in kept),
            ),
            hidden,
        )

    def prompt(self, messages: Messages) -> str:
        """The text after which the assistant's next answer begins. Raises `TemplateRefusalError`."""
        _, kept = self._accepted(messages, ())
        return self._render(kept, (), for_answer=True)

    def _accepted(self, messages: Messages, tools: Sequence[dict[str, Any]]) -> tuple[str, Messages]:
        """The text, and the messages that it was made of: the system turns folded where the template wants it."""
        try:
            text = self._render(messages, tools)
        except _FAULTS as error:
            folded = _folded(messages)
            if len(folded) < len(messages):
                try:
                    return self._render(folded, tools), folded
                except _FAULTS:
                    pass
            raise TemplateRefusalError(self._refusal(messages, tools, error)) from None
        if all(_says(text, messages[number]) for number in _by(SYSTEM, messages)):
            return text, messages
        folded = _folded(messages)
        return self._render(folded, tools), folded

    def _render(
        self,
        messages: Messages,
        tools: Sequence[dict[str, Any]],
        *,
        for_answer: bool = False,
        chat_template: str | None = None,
    ) -> str:
        return self._tokenizer.apply_chat_template(
            list(messages),
            tools=list(tools) or None,
            chat_template=chat_template,
            tokenize=False,
            add_generation_prompt=for_answer,
        )

    def _refusal(self, messages: Messages, tools: Sequence[dict[str, Any]], error: Exception) -> str:
        """Which role the template refuses, by the shortest beginning of the conversation that it refuses."""
        role = str(messages[-1]["role"])
        for count in range(1, len(messages)):
            try:
                self._render(messages[:count], tools)
            except _FAULTS as earlier:
                role, error = str(messages[count - 1]["role"]), earlier
                break
        words = " ".join(str(error).split())[:200] or type(error).__name__
        return f'the chat template refuses the turn of role "{role}": {words}'

    def _answers(self, messages: Messages, tools: Sequence[dict[str, Any]], text: str) -> list[Span]:
        marked = self._marked_answers(messages, tools, text) if self._marked else None
        if marked is not None:
            return marked
        return [self._answer(messages, number, tools, text) for number in _by(ASSISTANT, messages)]

    def _marked_answers(
        self, messages: Messages, tools: Sequence[dict[str, Any]], text: str
    ) -> list[Span] | None:
        """The answers that the template marks; None where it marks none, as in a branch without marks."""
        template: str = self._tokenizer.get_chat_template(None, list(tools) or None)
        signed = self._render(messages, tools, chat_template=signing(template))
        return signed_parts(signed, text)

    def _answer(self, messages: Messages, number: int, tools: Sequence[dict[str, Any]], text: str) -> Span:
        found = self._by_beginnings(messages, number, tools, text) or self._by_sign(
            messages, number, tools, text
        )
        if found is None:
            raise TemplateRefusalError(
                f'message {number + 1}, of role "{ASSISTANT}", is not found in the text that the chat template makes, '
                'so that answers cannot be told from questions; set data.loss = "all" to train on all of it'
            )
        return found

    def _by_beginnings(
        self, messages: Messages, number: int, tools: Sequence[dict[str, Any]], text: str
    ) -> Span | None:
        try:
            before = self._render(messages[:number], tools, for_answer=True)
            whole = self._render(messages[: number + 1], tools)
        except _FAULTS:
            return None
        return (len(before), len(whole)) if text.startswith(whole) and whole.startswith(before) else None

    def _by_sign(
        self, messages: Messages, number: int, tools: Sequence[dict[str, Any]], text: str
    ) -> Span | None:
        """The answer with the special token behind it, which ends it."""
        if not messages[number]["content"].strip():
            return None
        signed = [*messages[:number], {**messages[number], "content": _SIGN}, *messages[number + 1 :]]
        try:
            head, *tails = self._render(signed, tools).split(_SIGN)
        except _FAULTS:
            return None
        if len(tails) != 1 or not (text.startswith(head) and text.endswith(tails[0])):
            return None
        start, end = len(head), len(text) - len(tails[0])
        behind = self._special.match(tails[0], len(tails[0]) - len(tails[0].lstrip()))
        return (start, end + (behind.end() if behind else 0)) if start <= end else None

    def _hide(self, value: Any, hidden: list[str]) -> Any:
        """The message with a sign in place of each special token in what it says."""
        if isinstance(value, str):
            return self._special.sub(lambda found: _remember(found.group(), hidden), value)
        if isinstance(value, list):
            return [self._hide(one, hidden) for one in cast("list[Any]", value)]
        if isinstance(value, dict):
            parts = cast("dict[str, Any]", value)
            return {
                key: one if key in ("role", "type") else self._hide(one, hidden) for key, one in parts.items()
            }
        return value


def special_tokens(tokenizer: Any) -> frozenset[str]:
    """The texts that the tokenizer takes for special tokens."""
    added = [str(one) for one in tokenizer.added_tokens_decoder.values() if one.special]
    return frozenset(name for name in (*tokenizer.all_special_tokens, *added) if name)


def _remember(special: str, hidden: list[str]) -> str:
    hidden.append(special)
    return f"\ue0f0{len(hidden) - 1}\ue0f1"


def _restored(written: WrittenConversation, hidden: list[str]) -> WrittenConversation:
    """The same with the special tokens in place of their signs."""
    if not hidden:
        return written
    pieces: list[str] = []
    literal: list[Span] = []
    moves: list[Span] = [(0, 0)]
    done = length = 0
    for found in _HIDDEN.finditer(written.text):
        pieces += [written.text[done : found.start()], hidden[int(found.group(1))]]
        length += found.start() - done
        literal.append((length, length + len(pieces[-1])))
        done, length = found.end(), length + len(pieces[-1])
        moves.append((done, length - done))
    pieces.append(written.text[done:])

    def moved(place: int) -> int:
        return place + next(by for since, by in reversed(moves) if since <= place)

    answers = tuple((moved(start), moved(end)) for start, end in written.answers)
    return WrittenConversation("".join(pieces), answers, tuple(literal), written.folded, written.changed)


def _by(role: str, messages: Messages) -> list[int]:
    return [number for number, message in enumerate(messages) if message["role"] == role]


def _says(text: str, message: dict[str, Any]) -> bool:
    """Whether the text holds what the message says and the names of the tools that it calls."""
    said = str(message["content"]).strip() in text
    calls: list[Any] = message.get("tool_calls") or []
    return said and all(str(call.get("function", call).get("name", "")) in text for call in calls)


def _folded(messages: Messages) -> Messages:
    """The conversation with each system turn put before the next question, in the same turn."""
    made: list[dict[str, Any]] = []
    waiting: list[str] = []
    for message in messages:
        if message["role"] == SYSTEM:
            waiting.append(str(message["content"]).strip())
        elif message["role"] == USER and waiting:
            made.append({**message, "content": "\n\n".join([*waiting, str(message["content"])])})
            waiting = []
        else:
            made.append(message)
    return messages if waiting else made
