"""One question of a task, in the two forms that there are. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gossipllm.text.samples import PromptTarget


@dataclass(frozen=True, slots=True)
class Generate:
    """Write on from `context`; any of `references` would have been right. `blank` stands between the two."""

    context: str
    references: tuple[str, ...]
    blank: str = " "


@dataclass(frozen=True, slots=True)
class Choose:
    """Which of `choices` is the likeliest after `context`: number `right` is."""

    context: str
    choices: tuple[str, ...]
    right: int


Example: TypeAlias = Generate | Choose


def pairs(examples: Sequence[Example]) -> tuple[PromptTarget, ...]:
    """What is learned from: each reference after its context; of choices the right one."""
    found: list[PromptTarget] = []
    for one in examples:
        match one:
            case Generate():
                found += [PromptTarget(one.context, one.blank + reference) for reference in one.references]
            case Choose():
                found.append(choice_pairs(one)[one.right])
    return tuple(found)


def choice_pairs(example: Choose) -> tuple[PromptTarget, ...]:
    return tuple(PromptTarget(example.context, " " + choice) for choice in example.choices)
