"""A record by its keys: a text, a prompt with its answer, or a conversation.

| keys                                                        | what it is                                   |
| ----------------------------------------------------------- | -------------------------------------------- |
| `text` or `content`                                         | a text                                       |
| `messages` of `role` and `content`                          | a conversation (OpenAI; parts and tools too) |
| `conversations` of `from` and `value`                       | a conversation (ShareGPT)                    |
| `instruction` with `output` or `response`, maybe `input`    | a question and its answer (Alpaca, Dolly)    |
| `question` with `answer`                                    | a question and its answer                    |
| `prompt` with `completion` or `response`                    | a text of which the second part is answered  |

Other keys are ignored, and case does not matter. What is missing in a table of pandas (`null`, NaN) counts as empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from gossipllm.text.reading.json_values import JsonError, json_value
from gossipllm.text.reading.messages import (
    ASSISTANT,
    SYSTEM,
    USER,
    Messages,
    UnknownRecordError,
    add_message,
    kind_of,
    named,
    present,
    tools_of,
)

WANTED: Final = (
    "`text`, `messages`, `conversations`, `instruction` with `output`, `question` with `answer`, or `prompt` with "
    "`completion`"
)

_ANSWERS: Final = ("output", "response", "completion", "answer")


@dataclass(frozen=True, slots=True)
class Plain:
    text: str


@dataclass(frozen=True, slots=True)
class Prompted:
    """A prompt and what follows it, as plain text without roles."""

    prompt: str
    answer: str


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Messages as chat templates take them, and the tools that the assistant may call. `question` is what a model
    without a chat template reads instead, for a single question with its answer; empty for other conversations."""

    messages: tuple[dict[str, Any], ...]
    tools: tuple[dict[str, Any], ...] = ()
    question: str = ""
    lost_parts: int = 0
    """Parts of messages that are no text, such as images, and were left out."""


Record: TypeAlias = Plain | Prompted | Dialogue


def read_record(value: Any) -> Record | None:
    """The record that a JSON value or a row of a table is; None for an empty one. Raises `UnknownRecordError`."""
    if isinstance(value, str):
        return Plain(value) if value.strip() else None
    if isinstance(value, list) and is_conversation(cast("list[Any]", value)):
        return _dialogue(cast("list[Any]", value), {})
    if not isinstance(value, dict):
        raise UnknownRecordError(f"{kind_of(value)}, where a record with {WANTED} is wanted")
    row = {str(key).strip().lower(): part for key, part in cast("dict[Any, Any]", value).items()}
    text = row.get("text")
    if isinstance(text, str) and text.strip():
        return Plain(text)
    for key in ("messages", "conversations", "conversation"):
        turns = _turns(row.get(key))
        if turns is not None:
            return _dialogue(turns, row)
    return _by_columns(row)


def is_conversation(values: Sequence[Any]) -> bool:
    """Whether a list holds messages, rather than records."""
    return bool(values) and all(
        isinstance(one, dict) and {"role", "from"} & one.keys() and not {"text", "messages"} & one.keys()
        for one in values
    )


def _by_columns(row: Mapping[str, Any]) -> Record | None:
    if "instruction" in row and (answer := _first(row, _ANSWERS)):
        given = _text_of(row, "input") or _text_of(row, "context")
        return _instructed(row, _text_of(row, "instruction"), given, _text_of(row, answer))
    if "question" in row and (answer := _first(row, ("answer", "response", "output"))):
        return _instructed(row, _text_of(row, "question"), _text_of(row, "context"), _text_of(row, answer))
    if "prompt" in row and (answer := _first(row, ("completion", "response", "output", "answer"))):
        return _prompted(row, answer)
    for key in ("text", "content"):
        if key in row:
            text = _text_of(row, key)
            return Plain(text) if text.strip() else None
    if not any(present(part) for part in row.values()):
        return None
    raise UnknownRecordError(f"has the keys {named(row)}; wanted is {WANTED}")


def _instructed(row: Mapping[str, Any], asked: str, given: str, answer: str) -> Record | None:
    if not asked.strip() or not answer.strip():
        return None
    found = Messages()
    if system := _text_of(row, "system"):
        found.add(SYSTEM, system)
    history = row.get("history")
    for pair in cast("list[Any]", history) if isinstance(history, list) else []:
        if isinstance(pair, list) and len(cast("list[Any]", pair)) == 2:
            before = [str(part) for part in cast("list[Any]", pair)]
            found.add(USER, before[0])
            found.add(ASSISTANT, before[1])
    alone = not found.made
    found.add(USER, f"{asked.strip()}\n\n{given.strip()}" if given.strip() else asked.strip())
    found.add(ASSISTANT, answer.strip())
    context = f"Context: {given.strip()}\n" if given.strip() else ""
    question = f"Instruction: {asked.strip()}\n{context}Response:" if alone else ""
    return Dialogue(tuple(found.made), question=question)


def _prompted(row: Mapping[str, Any], answer: str) -> Record | None:
    before, after = _turns(row["prompt"]), _turns(row[answer])
    if before is not None or after is not None:
        asked: list[Any] = before or [{"role": USER, "content": _text_of(row, "prompt")}]
        said: list[Any] = after or [{"role": ASSISTANT, "content": _text_of(row, answer)}]
        return _dialogue([*asked, *said], row)
    prompt, text = _text_of(row, "prompt"), _text_of(row, answer)
    if not text.strip():
        return None
    # As they are, but never glued together to one word.
    between = "" if not prompt or prompt[-1].isspace() or text[0].isspace() else "\n"
    return Prompted(prompt, between + text)


def _turns(value: Any) -> list[Any] | None:
    """The list of messages that a value holds; None where it is none. Tables hold them as JSON, too."""
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        try:
            value, _ = json_value(value)
        except JsonError:
            return None
    return cast("list[Any]", value) if isinstance(value, list) and value else None


def _dialogue(turns: list[Any], row: Mapping[str, Any]) -> Dialogue | None:
    found = Messages()
    system = row.get("system")
    if isinstance(system, str) and system.strip():
        found.add(SYSTEM, system)
    for turn in turns:
        if not isinstance(turn, dict):
            raise UnknownRecordError(
                f"{kind_of(turn)} among its messages, where `role` and `content` are wanted"
            )
        add_message(found, cast("dict[str, Any]", turn))
    said = any(one["content"].strip() or one.get("tool_calls") for one in found.made)
    return Dialogue(tuple(found.made), tools_of(row), lost_parts=found.lost_parts) if said else None


def _first(row: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((name for name in names if name in row), "")


def _text_of(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if not present(value):
        return ""
    if not isinstance(value, str):
        raise UnknownRecordError(f"`{key}` is {kind_of(value)}, not a text")
    return value
