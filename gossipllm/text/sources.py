"""Reading a user's text files as documents. The text is private: it is never logged and never sent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from trust.errors import UserMistake

T = TypeVar("T")

_BLANK_LINES: Final = re.compile(r"\n[ \t]*\n")


class MessageLine(msgspec.Struct, frozen=True):
    """One message of a conversation, as chat data sets write it."""

    role: str
    content: str


class TextLine(msgspec.Struct, frozen=True):
    """One line of a .jsonl file: a text or a conversation. Other keys are ignored."""

    text: str | None = None
    messages: tuple[MessageLine, ...] | None = None


_text_line = msgspec.json.Decoder(TextLine)


def read_documents(path: str, tokenizer: Any, *, key: str = "data.path") -> list[str]:
    """All documents in the files of `path`, in a fixed order.

    A .txt file is divided into documents at blank lines, or at every line end where it has no blank line. Each line of
    a .jsonl file is a document; conversations go through the tokenizer's chat template. Raises `UserMistake`, which
    names file and line, for text that cannot be read; `key` is the setting or flag that gave `path`, for the message.
    """
    documents = [
        text for file in source_files(path, key) for text in _documents(file, tokenizer, key) if text.strip()
    ]
    if not documents:
        raise UserMistake(f"{key}: {path} holds no text")
    return documents


def source_files(path: str, key: str = "data.path") -> list[Path]:
    """The files that `path` names: itself, or every .txt file in a folder and its subfolders. Nothing is read.

    Raises `UserMistake` where there is no such file.
    """
    if not path:
        raise UserMistake(f"{key} is empty; name a .txt, a folder of .txt, or a .jsonl")
    place = Path(path).expanduser()
    if place.is_dir():
        files = sorted(file for file in place.rglob("*.txt") if file.is_file())
        if not files:
            raise UserMistake(f"{key}: {place} holds no .txt")
        return files
    if not place.is_file():
        raise UserMistake(f"{key}: there is no file or folder {place}")
    if place.suffix not in (".txt", ".jsonl"):
        raise UserMistake(f"{key}: {place} is neither a .txt, a folder of .txt, nor a .jsonl")
    return [place]


def _documents(file: Path, tokenizer: Any, key: str) -> Iterator[str]:
    text = read_text(file, key)
    if file.suffix == ".jsonl":
        yield from _jsonl(file, text, tokenizer)
    elif _BLANK_LINES.search(text.strip()):
        yield from _BLANK_LINES.split(text)
    else:
        yield from text.splitlines()


def read_text(file: Path, key: str) -> str:
    """The text of a UTF-8 file, without a byte-order mark. Raises `UserMistake` for a file that cannot be read."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserMistake(f"{key}: {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserMistake(f"{key}: {file} is not UTF-8 (byte {error.start})") from None


def _jsonl(file: Path, text: str, tokenizer: Any) -> Iterator[str]:
    for where, record in decoded_lines(file, text, _text_line):
        if record.text is not None:
            yield record.text
        elif record.messages:
            yield conversation(record.messages, tokenizer, where)
        else:
            raise UserMistake(f"{where}: neither `text` nor `messages`")


def decoded_lines(file: Path, text: str, decoder: msgspec.json.Decoder[T]) -> Iterator[tuple[str, T]]:
    """Each record of a .jsonl file, with its place as `file:line` for error messages. Blank lines are skipped.

    Raises `UserMistake` for a line that is no such record.
    """
    # Only "\n" ends a line here: JSON strings may hold U+2028 and its like unescaped.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            record = decoder.decode(line)
        except msgspec.DecodeError as error:
            raise UserMistake(f"{where}: {error}") from None
        yield where, record


def conversation(
    turns: tuple[MessageLine, ...], tokenizer: Any, where: str, *, for_answer: bool = False
) -> str:
    """The text of a conversation by the tokenizer's chat template. With `for_answer` the text ends where the
    assistant's next answer begins."""
    if not getattr(tokenizer, "chat_template", None):
        raise UserMistake(
            f"{where}: has `messages`, but the model's tokenizer has no chat template; use `text`"
        )
    plain = [msgspec.to_builtins(turn) for turn in turns]
    return tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=for_answer)
