"""Conversations between a person and a model, and the prompts that the model continues.

Where the tokenizer has a chat template, the turns go through it. A model without a template continues plain text: the
turns of both sides are then joined to one text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from jinja2 import TemplateError

from gossipllm.model.loading.models import Base
from gossipllm.text.samples import encoded_prompts
from trust.errors import UserMistake


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """The tokens that a model continues. `cut` is True if older text was left out."""

    tokens: list[int]
    cut: bool


class Conversation:
    """A conversation between a person and a model. With `plain` the turns are joined to one text even if the tokenizer
    has a chat template."""

    def __init__(self, base: Base, *, plain: bool = False) -> None:
        self._tokenizer: Any = base.tokenizer
        self.templated = not plain and bool(self._tokenizer.chat_template)
        self._turns: list[Turn] = []

    def ask(self, text: str) -> None:
        self._turns.append(Turn("user", text))

    def answered(self, text: str) -> None:
        self._turns.append(Turn("assistant", text))

    def reset(self) -> None:
        self._turns.clear()

    def prompt(self, max_tokens: int) -> Prompt:
        """The conversation in at most `max_tokens` tokens, 1 or more.

        The oldest turns are left out first, each question together with its answer; a last turn that is too long loses
        its beginning. Raises `UserMistake` where the chat template refuses the turns.
        """
        turns = list(self._turns)
        tokens = self._encoded(turns)
        whole = len(tokens) <= max_tokens
        while self.templated and len(tokens) > max_tokens and len(turns) > 2:
            # In pairs: many templates refuse a conversation that does not begin with the user.
            del turns[:2]
            tokens = self._encoded(turns)
        return Prompt(tokens[-max_tokens:], cut=not whole)

    def _encoded(self, turns: list[Turn]) -> list[int]:
        if not self.templated:
            return [int(token) for token in encoded_prompts([_text(turns)], self._tokenizer)[0]]
        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        try:
            text = self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        except TemplateError as error:
            reason = " ".join(str(error).split())[:160]
            raise UserMistake(
                f"the model's chat template refuses this conversation ({reason}); take --plain"
            ) from None
        return list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _text(turns: list[Turn]) -> str:
    """The turns as one text: each question on a new line, each answer directly after its question."""
    text = ""
    for turn in turns:
        fresh = turn.role == "user" and text and not text.endswith("\n")
        text += ("\n" if fresh else "") + turn.text
    return text
