"""Readers of task files, in the formats in which the data sets are published.

Prompts are plain text with labels, a line each, which any model can learn. Every reader raises `UserMistake` that names
the file, the line and what is wrong; `key` is the setting or flag that named the file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from gossipllm.tasks.examples import Choose, Generate
from gossipllm.text.reading.account import shown
from gossipllm.text.reading.contents import read_text
from gossipllm.text.reading.conversations import ConversationWriter, TemplateRefusalError
from gossipllm.text.reading.json_values import JsonError, json_value
from gossipllm.text.reading.messages import ASSISTANT, UnknownRecordError
from gossipllm.text.reading.records import Dialogue, read_record
from trust.errors import UserMistake

_LANGUAGES: Final = {
    "cs": "Czech",
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fr": "French",
    "it": "Italian",
    "ja": "Japanese",
    "nl": "Dutch",
    "pl": "Polish",
    "pt": "Portuguese",
    "ru": "Russian",
    "zh": "Chinese",
}
"""Names of languages in prompts; other languages appear as their code."""


class _Instruction(msgspec.Struct, frozen=True):
    instruction: str | None = None
    context: str = ""
    response: str = ""
    messages: list[Any] | None = None


class _Premise(msgspec.Struct, frozen=True):
    premise: str
    choice1: str
    choice2: str
    question: Literal["cause", "effect"]
    label: Annotated[int, msgspec.Meta(ge=0, le=1)]


T = TypeVar("T")


def read_e2e(file: Path, key: str) -> tuple[Generate, ...]:
    """A .csv with columns `mr` and `ref`: the E2E NLG challenge (Novikova et al. 2017, 1706.09254).

    Rows of one meaning representation are one example with several references, in the order of their first row.
    """
    references: dict[str, list[str]] = {}
    for where, row in _csv_rows(file, read_text(file, key), ("mr", "ref")):
        if not row["mr"].strip() or not row["ref"].strip():
            raise UserMistake(f"{where}: {'mr' if not row['mr'].strip() else 'ref'} is empty")
        references.setdefault(row["mr"].strip(), []).append(row["ref"].strip())
    found = [Generate(f"Facts: {facts}\nText:", tuple(texts)) for facts, texts in references.items()]
    return tuple(_some(found, file))


def read_instructions(file: Path, key: str, tokenizer: Any) -> tuple[Generate, ...]:
    """A .jsonl with `instruction`, `context` (may be empty or missing) and `response`, as Dolly's; or with `messages`,
    of which the last answers the others, in the tokenizer's chat template."""
    found: list[Generate] = []
    for where, record in _lines(file, key, _Instruction):
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
    return tuple(_some(found, file))


def read_copa(file: Path, key: str) -> tuple[Choose, ...]:
    """A .jsonl with `premise`, `choice1`, `choice2`, `question` and `label`: COPA (Roemmele et al. 2011).

    Premise, connective and choice make one sentence, as in the evaluation harness of Gao et al.
    """
    found: list[Choose] = []
    for where, record in _lines(file, key, _Premise):
        choices = tuple(choice.strip() for choice in (record.choice1, record.choice2))
        premise = record.premise.strip()
        if not premise or not all(choices):
            raise UserMistake(f"{where}: an empty premise or choice")
        connective = "because" if record.question == "cause" else "therefore"
        lowered = tuple(choice[0].lower() + choice[1:] for choice in choices)
        found.append(Choose(f"{premise.removesuffix('.')} {connective}", lowered, record.label))
    return tuple(_some(found, file))


def read_translation(file: Path, key: str, pair: str) -> tuple[Generate, ...]:
    """A .jsonl with a sentence for each language code; `pair` names source and target language, as "en-fr"."""
    source, _, target = pair.partition("-")
    if not source or not target or source == target:
        raise UserMistake(f'a pair of languages is from-to, as "en-fr", got "{pair}"')
    found: list[Generate] = []
    for where, record in _lines(file, key, dict[str, Any]):
        sentences: list[str] = []
        for code in (source, target):
            sentence: Any = record.get(code)
            if not isinstance(sentence, str) or not sentence.strip():
                held = ", ".join(sorted(name for name in record if name != "id"))
                raise UserMistake(f'{where}: no sentence for "{code}"; this line has {held}')
            sentences.append(sentence.strip())
        prompt = f"{_LANGUAGES.get(source, source)}: {sentences[0]}\n{_LANGUAGES.get(target, target)}:"
        found.append(Generate(prompt, (sentences[1],)))
    return tuple(_some(found, file))


def _lines(file: Path, key: str, kind: type[T]) -> Iterator[tuple[str, T]]:
    """Each record of a .jsonl file, with its place as `file:line`. Blank lines are skipped."""
    # Only "\n" ends a line here: JSON strings may hold U+2028 and its like unescaped.
    for number, line in enumerate(read_text(file, key).split("\n"), start=1):
        if line.strip():
            where = f"{shown(file)}:{number}"
            try:
                yield where, msgspec.convert(json_value(line)[0], kind)
            except (JsonError, msgspec.ValidationError) as error:
                raise UserMistake(f"{where}: {error}") from None


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


def _csv_rows(file: Path, text: str, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            # The line where the row begins: a quote that is never closed takes in the rest of the file.
            raise UserMistake(f"{file}:{rows.line_num + 1}: {error}") from None
        missing = [column for column in columns if column not in (rows.fieldnames or ())]
        if missing:
            raise UserMistake(
                f"{file}:1: no column {' nor '.join(missing)}; the first line names the columns"
            )
        if row is None:
            return
        if None in row or None in row.values():
            raise UserMistake(f"{file}:{rows.line_num}: not as many cells as columns")
        yield f"{file}:{rows.line_num}", row


def _some(found: list[Any], file: Path) -> list[Any]:
    if not found:
        raise UserMistake(f"{file} holds no examples")
    return found
