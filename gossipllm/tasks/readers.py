"""Readers of tasks that are answered by writing, in the formats in which the data sets are published.

Prompts are plain text with labels, a line each, which any model can learn. Every reader raises `UserMistake` that names
the file, the line and what is wrong; `key` is the setting or flag that named the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from gossipllm.tasks.examples import Generate
from gossipllm.tasks.records import csv_rows, json_lines, some
from gossipllm.text.reading.conversations import ConversationWriter, TemplateRefusalError
from gossipllm.text.reading.messages import ASSISTANT, UnknownRecordError
from gossipllm.text.reading.records import Dialogue, read_record
from trust.errors import UserMistake

_LONGEST_ARTICLE: Final = 2000
"""Characters of an article that are read, about the 512 tokens that XL-Sum's authors gave their models."""


class _Instruction(msgspec.Struct, frozen=True):
    instruction: str | None = None
    context: str = ""
    response: str = ""
    messages: list[Any] | None = None


class _Article(msgspec.Struct, frozen=True):
    text: str
    summary: str


def read_e2e(file: Path, key: str) -> tuple[Generate, ...]:
    """A .csv with columns `mr` and `ref`: the E2E NLG challenge (Novikova et al. 2017, 1706.09254).

    Rows of one meaning representation are one example with several references, in the order of their first row.
    """
    references: dict[str, list[str]] = {}
    for where, row in csv_rows(file, key, ("mr", "ref")):
        if not row["mr"].strip() or not row["ref"].strip():
            raise UserMistake(f"{where}: {'mr' if not row['mr'].strip() else 'ref'} is empty")
        references.setdefault(row["mr"].strip(), []).append(row["ref"].strip())
    found = [Generate(f"Facts: {facts}\nText:", tuple(texts)) for facts, texts in references.items()]
    return tuple(some(found, file))


def read_instructions(file: Path, key: str, tokenizer: Any) -> tuple[Generate, ...]:
    """A .jsonl with `instruction`, `context` (may be empty or missing) and `response`, as Dolly's; or with `messages`,
    of which the last answers the others, in the tokenizer's chat template."""
    found: list[Generate] = []
    for where, record in json_lines(file, key, _Instruction):
        if record.messages is not None:
            found.append(_answered(record.messages, tokenizer, where))
            continue
        if record.instruction is None:
            raise UserMistake(f"{where}: neither `instruction` nor `messages`")
        if not record.instruction.strip() or not record.response.strip():
            empty = "response" if record.instruction.strip() else "instruction"
            raise UserMistake(f"{where}: `{empty}` is empty")
        given = f"Context: {record.context.strip()}\n" if record.context.strip() else ""
        prompt = f"Instruction: {record.instruction.strip()}\n{given}Response:"
        found.append(Generate(prompt, (record.response.strip(),)))
    return tuple(some(found, file))


def read_summaries(file: Path, key: str) -> tuple[Generate, ...]:
    """A .jsonl with `text` and `summary`, beside `id`, `url` and `title`: XL-Sum (Hasan et al. 2021, 2106.13822)."""
    found: list[Generate] = []
    for where, record in json_lines(file, key, _Article):
        text, summary = record.text.strip(), record.summary.strip()
        if not text or not summary:
            raise UserMistake(f"{where}: `{'summary' if text else 'text'}` is empty")
        found.append(Generate(f"Article: {text[:_LONGEST_ARTICLE]}\nSummary:", (summary,)))
    return tuple(some(found, file))


def _answered(turns: list[Any], tokenizer: Any, where: str) -> Generate:
    try:
        found = read_record({"messages": turns})
        messages = found.messages if isinstance(found, Dialogue) else ()
        if len(messages) < 2 or messages[-1]["role"] != ASSISTANT or not messages[-1]["content"].strip():
            raise UserMistake(f"{where}: `messages` must end with an answer of the assistant to something")
        if not getattr(tokenizer, "chat_template", None):
            raise UserMistake(f"{where}: has `messages`, but the model's tokenizer has no chat template")
        asked = ConversationWriter(tokenizer).prompt(messages[:-1])
    except (UnknownRecordError, TemplateRefusalError) as error:
        raise UserMistake(f"{where}: {error}") from None
    # Some chat templates begin with the beginning-of-text token, which `encoded` adds to every sample.
    return Generate(
        asked.removeprefix(tokenizer.bos_token or ""), (messages[-1]["content"].strip(),), blank=""
    )
