"""JSON as people have it: NaN and Infinity, which no standard allows, and single halves of emoji are read."""

from __future__ import annotations

import json
from typing import Any, cast

import msgspec

from gossipllm.text.reading.contents import without_halves


class JsonError(ValueError):
    """Text that is no JSON, with the reason."""


def json_value(text: str) -> tuple[Any, int]:
    """The value that `text` holds, and how many halves of characters in its strings became U+FFFD.

    Raises `JsonError`.
    """
    try:
        return _decoded(text)
    except RecursionError:
        raise JsonError("JSON is nested too deeply") from None


def _decoded(text: str) -> tuple[Any, int]:
    try:
        return msgspec.json.decode(text), 0
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        try:
            # Slower, but takes NaN and halves of emoji.
            return _mended(json.loads(text, strict=False))
        except ValueError:
            raise JsonError(str(error)) from None


def _mended(value: Any) -> tuple[Any, int]:
    if isinstance(value, str):
        return without_halves(value)
    if isinstance(value, list):
        parts = [_mended(one) for one in cast("list[Any]", value)]
        return [part for part, _ in parts], sum(count for _, count in parts)
    if isinstance(value, dict):
        made = {key: _mended(one) for key, one in cast("dict[str, Any]", value).items()}
        return {key: part for key, (part, _) in made.items()}, sum(count for _, count in made.values())
    return value, 0
