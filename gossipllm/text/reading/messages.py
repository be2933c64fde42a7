"""Messages of a conversation as chat templates take them, from the forms in which data sets write them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from gossipllm.text.reading.json_values import JsonError, json_value
from trust.names import escaped

ASSISTANT: Final = "assistant"
SYSTEM: Final = "system"
USER: Final = "user"
_ROLES: Final = {
    "human": USER,
    "gpt": ASSISTANT,
    "bot": ASSISTANT,
    "chatgpt": ASSISTANT,
    "model": ASSISTANT,
    "function_call": ASSISTANT,
    "developer": SYSTEM,
    "observation": "tool",
    "function_response": "tool",
    "function": "tool",
}
"""Roles by other names, in the words of chat templates."""

_MOST_NAMED: Final = 12
"""Keys that a message names."""


class UnknownRecordError(ValueError):
    """A record that cannot be read: the keys that it has and those that are wanted, or what is wrong with them."""


@dataclass(slots=True)
class Messages:
    """Messages while they are read. `lost_parts` counts their parts that are no text, such as images."""

    made: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    lost_parts: int = 0

    def add(self, role: str, content: str, **more: Any) -> None:
        self.made.append({"role": role, "content": content, **more})


def named(keys: Iterable[Any]) -> str:
    """The first of the keys for a message, escaped and cut."""
    return ", ".join(f"`{escaped(str(key), 40)}`" for key in list(keys)[:_MOST_NAMED]) or "no keys"


def add_message(found: Messages, turn: Mapping[str, Any]) -> None:
    role = turn.get("role", turn.get("from"))
    key = next((name for name in ("content", "value", "text") if name in turn), "")
    calls = _calls(turn)
    if not isinstance(role, str) or not (key or calls):
        raise UnknownRecordError(f"a message has {named(turn)}; wanted are `role` and `content`")
    content = _content(turn.get(key), found)
    more = {
        name: turn[name] for name in ("name", "tool_call_id", "reasoning_content") if present(turn.get(name))
    }
    found.add(
        _ROLES.get(role.lower(), role.lower()), content, **more, **({"tool_calls": calls} if calls else {})
    )


def _content(value: Any, found: Messages) -> str:
    """A message's text: a string, the text parts of a list of parts, or empty for a null beside a call."""
    if not present(value):
        return ""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise UnknownRecordError(f"the `content` of a message is {kind_of(value)}, not a text")
    texts = [_part_text(part) for part in cast("list[Any]", value)]
    found.lost_parts += texts.count(None)
    return "\n".join(text for text in texts if text is not None)


def _part_text(part: Any) -> str | None:
    """The text of a part of a message; None for an image or a sound."""
    if isinstance(part, dict):
        fields = cast("dict[str, Any]", part)
        part = fields.get("text", fields.get("refusal"))
    return part if isinstance(part, str) else None


def _calls(turn: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A message's calls of tools as templates take them: with arguments as an object instead of its JSON."""
    given = turn.get("tool_calls")
    old = turn.get("function_call")
    calls: list[Any] = cast("list[Any]", given) if isinstance(given, list) else []
    if not calls and isinstance(old, dict):
        calls = [{"type": "function", "function": old}]
    made: list[dict[str, Any]] = []
    for call in calls:
        if not isinstance(call, dict):
            raise UnknownRecordError(f"{kind_of(call)} among its `tool_calls`")
        made.append(_with_arguments(cast("dict[str, Any]", call)))
    return made


def _with_arguments(call: dict[str, Any]) -> dict[str, Any]:
    """The call with its arguments as an object, where they are the JSON of one."""
    function: dict[str, Any] = call["function"] if isinstance(call.get("function"), dict) else {}
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        return call
    try:
        return {**call, "function": {**function, "arguments": json_value(arguments)[0]}}
    except JsonError:
        return call


def tools_of(row: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    value = row.get("tools") or row.get("functions")
    if isinstance(value, str):
        try:
            value, _ = json_value(value)
        except JsonError:
            return ()
    tools = [
        cast("dict[str, Any]", one)
        for one in cast("list[Any]", value if isinstance(value, list) else [])
        if isinstance(one, dict)
    ]
    return tuple(one if "function" in one else {"type": "function", "function": one} for one in tools)


def present(value: Any) -> bool:
    return value not in (None, "", [], {}) and not (isinstance(value, float) and math.isnan(value))


def kind_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "an object"
