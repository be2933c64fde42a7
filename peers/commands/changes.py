"""Settings that a command line changes: KEY=VALUE, as --set takes them."""

from __future__ import annotations

import tomllib

from trust.errors import UserMistake


def change_of(text: str) -> tuple[str, object]:
    """The key and the value of KEY=VALUE. The value is TOML; what is none is a text, so that no quotes are needed."""
    key, mark, value = text.partition("=")
    if not mark or not key.strip():
        raise UserMistake(f"--set takes KEY=VALUE, as in --set round.steps=50; got {text}")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value
