"""Texts of task files as their data sets publish them, and the type of the fixture that reads them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

from gossipllm.tasks.examples import Example

Read: TypeAlias = Callable[..., tuple[Example, ...]]


def lines(*records: dict[str, Any]) -> str:
    return "\n".join(json.dumps(record, ensure_ascii=False) for record in records)
