"""One pass over all the text at a path: its documents in a fixed order, and the account of them.

A document is what a file's owner would call one: a record of a data set, or a part of prose between blank lines (a line
where a file has no blank lines). A document that came before is left out, in whatever file, so that none is in two
splits. Prose repeats itself without being a copy, in greetings and headings, and code even in longer parts: shorter
parts than `_SHORT` and `_SHORT_CODE` are kept.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from gossipllm.config.text import Loss
from gossipllm.text.reading.account import Counter, TextAccount, counted, shown
from gossipllm.text.reading.contents import Decoded, UnreadableFileError, decode, read_bytes
from gossipllm.text.reading.conversations import ConversationWriter, TemplateRefusalError
from gossipllm.text.reading.files import Format, TextFile, found_files, nothing_found
from gossipllm.text.reading.marks import Span
from gossipllm.text.reading.messages import ASSISTANT, UnknownRecordError
from gossipllm.text.reading.records import Dialogue, Plain, Prompted, read_record
from gossipllm.text.reading.tables import Found, parquet_records, records_of
from trust.errors import UserMistake

_MOST_BAD: Final = 0.01
"""Share of a file's records that may be bad: a cut line in an export is skipped, a wrong format is refused."""

_SHORT: Final = 24
_SHORT_CODE: Final = 200
"""Characters from which a part of prose, or of indented text, is a document that nobody writes twice. Guess."""

_BEGINNING: Final = 100_000
"""Characters of a file that show whether it is indented."""

_BLANK_LINES: Final = re.compile(r"\n[ \t]*\n")
_INDENTED: Final = re.compile(r"^[ \t]+\S", re.MULTILINE)
_LINE: Final = re.compile(r"^.*\S", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Document:
    """A text to train on. Of one with `answers` only these parts bear loss, of others all of it. `templated` says that
    a chat template wrote it, with special tokens; these are plain text at the places in `literal`, and everywhere in
    other documents."""

    text: str
    answers: tuple[Span, ...] | None = None
    templated: bool = False
    literal: tuple[Span, ...] = ()


class TextReader:
    """Reads the text at a path once. `account` is complete when all of `documents()` were taken.

    `loss` says whether of conversations, and of prompts with answers, only the answers bear loss. `distinct` leaves out
    what came before. `key` is the setting or flag that gave `path`, for messages.
    """

    def __init__(
        self,
        path: str,
        tokenizer: Any,
        *,
        key: str = "data.path",
        encoding: str = "",
        loss: Loss = "answers",
        distinct: bool = True,
    ) -> None:
        """Raises `UserMistake` where there is no such file or folder."""
        self._path, self._key = path, key
        self._encoding, self._loss, self._distinct = encoding, loss, distinct
        self._writer = ConversationWriter(tokenizer) if getattr(tokenizer, "chat_template", None) else None
        self._found = found_files(path, key)
        self._left_out, self._noted = Counter(), Counter()
        for one in self._found.left_out:
            self._left_out.add(one.what, one.first, one.count)
        self._seen: set[bytes] = set()
        self._files = self._documents = self._answered = self._characters = 0

    @property
    def account(self) -> TextAccount:
        return TextAccount(
            files=self._files,
            documents=self._documents,
            answered=self._answered,
            characters=self._characters,
            left_out=self._left_out.tallies(),
            mended=self._noted.tallies(),
        )

    def documents(self) -> Iterator[Document]:
        """All documents, in the order of the files' paths. Raises `UserMistake`, which names file and line, for text
        that cannot be read, and where there is none."""
        for file in self._found.files:
            before = self._documents
            try:
                for document in self._of_file(file):
                    self._documents += 1
                    self._characters += len(document.text)
                    self._answered += document.answers is not None
                    yield document
            except UnreadableFileError as error:
                if file.named or self._documents > before:
                    raise UserMistake(f"{self._key}: {shown(file.path)} {error}") from None
                cure = f": {error.cure}" if error.cure else ""
                self._left_out.add(f"file that {error.why}", shown(file.path) + cure)
            self._files += self._documents > before
        if not self._documents:
            raise nothing_found(self._path, self._key, self._left_out.tallies())

    def _of_file(self, file: TextFile) -> Iterator[Document]:
        data = read_bytes(file.path, file.packing)
        if file.format is Format.PARQUET:
            yield from self._records(file, parquet_records(data, file.path))
            return
        decoded = decode(data, file.path, self._encoding)
        del data
        self._note(file, decoded)
        if not decoded.text.strip():
            self._left_out.add("empty file", shown(file.path))
        elif file.format is Format.PROSE:
            yield from self._prose(file, decoded.text)
        else:
            yield from self._records(file, records_of(decoded.text, file.path, file.format))

    def _note(self, file: TextFile, decoded: Decoded) -> None:
        if decoded.encoding and not self._encoding:
            self._noted.add(f"{decoded.encoding} file", shown(file.path))
        self._noted.add("broken character, now U+FFFD", shown(file.path), decoded.mended)

    def _prose(self, file: TextFile, text: str) -> Iterator[Document]:
        if self._came_before(text, "file"):
            self._left_out.add("file with the text of an earlier one", shown(file.path))
            return
        begin = text[:_BEGINNING]
        indented = len(_INDENTED.findall(begin)) > 0.1 * len(_LINE.findall(begin))
        least = _SHORT_CODE if indented else _SHORT
        for part in _parts(text):
            if not part.strip():
                continue
            if len(part.strip()) >= least and self._came_before(part):
                self._left_out.add("repeated document", shown(file.path))
                continue
            yield Document(part)

    def _records(self, file: TextFile, found: Iterator[Found]) -> Iterator[Document]:
        good, bad = 0, Counter()
        for one in found:
            self._noted.add("broken character, now U+FFFD", one.where, one.mended)
            try:
                document = self._document(one)
            except (UnknownRecordError, TemplateRefusalError) as error:
                bad.add(str(error), one.where)
                continue
            good += 1
            if document is not None:
                yield document
        self._judge(file, good, bad)

    def _judge(self, file: TextFile, good: int, bad: Counter) -> None:
        """Count the bad records of a file, or refuse it for them."""
        faults = bad.tallies()
        if not faults:
            return
        count = sum(one.count for one in faults)
        if not good and not file.named:
            self._left_out.add(f"file without records: {faults[0].what}", faults[0].first)
        elif count > _MOST_BAD * (good + count):
            shares = f"; {count:,} of {counted(good + count, 'record')} cannot be read, and at most 1 % are skipped"
            raise UserMistake(f"{faults[0].first}: {faults[0].what}" + (shares if good + count > 1 else ""))
        else:
            self._left_out.add("record that cannot be read", faults[0].first, count)

    def _document(self, found: Found) -> Document | None:
        """None for an empty or repeated record. Raises `UnknownRecordError` or `TemplateRefusalError`."""
        if found.problem:
            raise UnknownRecordError(found.problem)
        record = read_record(found.value)
        if record is None:
            self._left_out.add("empty record", found.where)
            return None
        match record:
            case Plain():
                document = Document(record.text)
            case Prompted():
                document = self._prompted(record.prompt, record.answer)
            case Dialogue():
                document = self._dialogue(record, found.where)
        if document is not None and self._came_before(document.text):
            self._left_out.add("repeated document", found.where)
            return None
        return document

    def _prompted(self, prompt: str, answer: str) -> Document:
        text = prompt + answer
        return Document(text, None if self._loss == "all" else ((len(prompt), len(text)),))

    def _dialogue(self, dialogue: Dialogue, where: str) -> Document | None:
        self._noted.add("part of a message without text, left out", where, dialogue.lost_parts)
        if self._writer is None and dialogue.question:
            return self._prompted(dialogue.question, f" {dialogue.messages[-1]['content']}")
        if self._writer is None:
            raise TemplateRefusalError(
                "has a conversation, but the model's tokenizer has no chat template: use `text`, `prompt` with "
                "`completion` or `instruction` with `output`, or a model with a chat template"
            )
        wanted = self._loss == "answers"
        if wanted and not any(one["role"] == ASSISTANT for one in dialogue.messages):
            self._left_out.add("conversation without an answer", where)
            return None
        written = self._writer.written(dialogue.messages, dialogue.tools, answers=wanted)
        self._noted.add(
            "conversation whose system turn the chat template refuses, put before the question",
            where,
            written.folded,
        )
        self._noted.add(
            "conversation of which the chat template leaves something out", where, written.changed
        )
        return Document(written.text, written.answers if wanted else None, True, written.literal)

    def _came_before(self, text: str, kind: str = "") -> bool:
        """Whether a document, or a file, of the same text came before; it counts as seen from now on."""
        if not self._distinct:
            return False
        digest = hashlib.blake2b(
            text.strip().encode("utf-8", "surrogatepass"), digest_size=16, person=kind.encode()
        ).digest()
        before = digest in self._seen
        self._seen.add(digest)
        return before


def _parts(text: str) -> Iterator[str]:
    """The parts between blank lines, or the lines where there are none, one by one: a list of all takes as much memory
    as the text."""
    if not _BLANK_LINES.search(text.strip()):
        yield from text.splitlines()
        return
    start = 0
    for border in _BLANK_LINES.finditer(text):
        yield text[start : border.start()]
        start = border.end()
    yield text[start:]


def read_documents(
    path: str, tokenizer: Any, *, key: str = "data.path", loss: Loss = "all"
) -> list[Document]:
    """All documents at a path, repeated ones too: to measure or to simulate with. Raises `UserMistake` as `TextReader`
    does."""
    return list(TextReader(path, tokenizer, key=key, loss=loss, distinct=False).documents())
