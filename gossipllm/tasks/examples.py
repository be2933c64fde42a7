"""Examples of a task: a prompt that is answered by writing, or by choosing among given answers. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gossipllm.text.samples import PromptTarget


@dataclass(frozen=True, slots=True)
class Generate:
    """A prompt to continue; any of `references` is right. `blank` stands between prompt and reference."""

    prompt: str
    references: tuple[str, ...]
    blank: str = " "


@dataclass(frozen=True, slots=True)
class Choose:
    """A prompt with several continuations, of which `choices[right]` is right."""

    prompt: str
    choices: tuple[str, ...]
    right: int


Example: TypeAlias = Generate | Choose


def prompt_targets(examples: Sequence[Example]) -> tuple[PromptTarget, ...]:
    """The samples to train on: each reference after its prompt; of choices the right one."""
    found: list[PromptTarget] = []
    for one in examples:
        match one:
            case Generate():
                found += [PromptTarget(one.prompt, one.blank + reference) for reference in one.references]
            case Choose():
                found.append(choice_targets(one)[one.right])
    return tuple(found)


def choice_targets(example: Choose) -> tuple[PromptTarget, ...]:
    return tuple(PromptTarget(example.prompt, " " + choice) for choice in example.choices)
