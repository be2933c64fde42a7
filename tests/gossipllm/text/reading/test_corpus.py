"""Tests of reading a path: every document once, and an account of what was left out and mended."""

from __future__ import annotations

import errno
import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gossipllm.text.reading.account import TextAccount
from gossipllm.text.reading.corpus import Document, TextReader, read_documents
from support.templates import CHATML, NO_SYSTEM, NO_TOOLS, with_template
from trust.errors import UserMistake

Tok = Any

HI = {"role": "user", "content": "Hi"}
HO = {"role": "assistant", "content": "Ho"}
LONG = "A paragraph that nobody writes twice by chance."


def lines(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def texts(path: Path, tokenizer: Tok, **options: Any) -> list[str]:
    return [one.text for one in TextReader(str(path), tokenizer, **options).documents()]


def account(path: Path, tokenizer: Tok, **options: Any) -> TextAccount:
    reader = TextReader(str(path), tokenizer, **options)
    assert list(reader.documents())
    return reader.account


def left_out(path: Path, tokenizer: Tok) -> dict[str, int]:
    return {one.what: one.count for one in account(path, tokenizer).left_out}


def noted(path: Path, tokenizer: Tok) -> dict[str, int]:
    return {one.what: one.count for one in account(path, tokenizer).mended}


def refusal(path: Path, tokenizer: Tok, **options: Any) -> str:
    with pytest.raises(UserMistake) as caught:
        texts(path, tokenizer, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- documents ----------------------------------------------------------------------------------------


def test_blank_lines_divide_documents_where_a_file_has_any(tmp_path: Path, tokenizer: Tok) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n\nthree\n")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.txt").write_text("four\nfive\n")

    assert texts(tmp_path, tokenizer) == ["one\ntwo", "three\n", "four", "five"]


def test_files_of_all_formats_in_one_folder_are_one_text(tmp_path: Path, tokenizer: Tok) -> None:
    (tmp_path / "a.md").write_text("# prose")
    (tmp_path / "b.csv").write_text("n,text\n1,cell\n")
    (tmp_path / "c.json").write_text(json.dumps([{"text": "element"}]))
    (tmp_path / "d.jsonl").write_text(lines({"text": "line"}, {"messages": [HI, HO]}))
    (tmp_path / "e.txt.gz").write_bytes(gzip.compress(b"packed"))
    (tmp_path / "f.TXT").write_bytes("caf\xe9 au lait".encode("cp1252"))

    assert texts(tmp_path, tokenizer) == [
        *("# prose", "cell", "element", "line", "user: Hi\nassistant: Ho\n", "packed", "café au lait")
    ]
    found = account(tmp_path, tokenizer)
    assert (found.files, found.documents, found.answered) == (6, 7, 1)
    assert [one.line(names=False) for one in found.mended] == ["1 cp1252 file"]


def test_of_conversations_and_prompts_only_the_answers_bear_loss(tmp_path: Path, tokenizer: Tok) -> None:
    (tmp_path / "a.jsonl").write_text(
        lines({"text": "plain"}, {"messages": [HI, HO]}, {"prompt": "2+2 =", "completion": " 4"})
    )
    (plain, talk, prompt) = TextReader(str(tmp_path), with_template(tokenizer, CHATML)).documents()

    assert plain == Document("plain")
    assert talk.answers is not None
    assert [talk.text[start:end] for start, end in talk.answers] == ["Ho<|end|>\n"]
    assert prompt == Document("2+2 = 4", ((5, 7),))


def test_all_of_them_bears_loss_where_the_setting_says_so(tmp_path: Path, tokenizer: Tok) -> None:
    (tmp_path / "a.jsonl").write_text(lines({"messages": [HI, HO]}, {"prompt": "a", "completion": " b"}))

    for one in TextReader(str(tmp_path), tokenizer, loss="all").documents():
        assert one.answers is None


def test_a_question_and_its_answer_need_no_chat_template_and_a_conversation_does(
    tmp_path: Path, tokenizer: Tok
) -> None:
    bare = with_template(tokenizer, None)
    file = tmp_path / "a.jsonl"
    file.write_text(lines({"instruction": "Who?", "input": "Ada wrote.", "output": "Ada"}))

    (asked,) = TextReader(str(file), bare).documents()
    assert asked.text == "Instruction: Who?\nContext: Ada wrote.\nResponse: Ada"
    assert asked.answers == ((len(asked.text) - 4, len(asked.text)),)

    file.write_text(lines({"messages": [HI, HO]}))
    assert f"{file}:1: has a conversation, but the model's tokenizer has no chat template" in refusal(
        file, bare
    )


# -- repetitions --------------------------------------------------------------------------------------


def copies() -> Iterator[tuple[str, dict[str, bytes]]]:
    text = LONG.encode()
    yield "file", {"a.txt": b"short", "b/c.txt": b"short"}
    yield "line ends", {"a.txt": b"one\ntwo\n", "b.txt": b"one\r\ntwo\r\n"}
    yield "encoding", {"a.txt": "café crème".encode(), "b.txt": "café crème".encode("utf-16")}
    yield "packing", {"a.txt": b"short", "a.txt.gz": gzip.compress(b"short")}
    yield "paragraph", {"a.txt": b"x\n\n" + text, "b.md": text + b"\n\ny"}
    yield "within", {"a.txt": text + b"\n\nx\n\n" + text}
    yield "records", {"a.jsonl": lines({"text": "s"}, {"text": "s", "n": 2}).encode()}
    yield "format", {"a.csv": b"text\n" + text + b"\n", "b.txt": text + b"\n"}
    yield (
        "conversation",
        {"a.jsonl": lines({"messages": [HI, HO]}, {"instruction": "Hi", "output": "Ho"}).encode()},
    )


@pytest.mark.parametrize(("kind", "files"), [pytest.param(kind, files, id=kind) for kind, files in copies()])
def test_what_came_before_is_left_out_whatever_it_comes_in(
    tmp_path: Path, tokenizer: Tok, kind: str, files: dict[str, bytes]
) -> None:
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)

    found = [text.strip() for text in texts(tmp_path, tokenizer)]

    assert len(set(found)) == len(found)
    assert sum(left_out(tmp_path, tokenizer).values()) == 1


def test_greetings_repeat_in_prose_and_longer_parts_in_code(tmp_path: Path, tokenizer: Tok) -> None:
    (tmp_path / "a.txt").write_text("Dear Ada,\n\nfirst letter\n\nKind regards\n\nDear Ada,\n\nsecond one\n")
    code = "if (a.isEmpty()) {\n    return Optional.empty();\n}\n"
    (tmp_path / "b.txt").write_text(code * 3)

    assert len(texts(tmp_path, tokenizer)) == 5 + 9


def test_all_documents_are_kept_where_a_text_is_only_measured(tmp_path: Path, tokenizer: Tok) -> None:
    (tmp_path / "a.txt").write_text(LONG)
    (tmp_path / "b.txt").write_text(LONG)

    assert [one.text for one in read_documents(str(tmp_path), tokenizer)] == [LONG, LONG]


# -- faults -------------------------------------------------------------------------------------------


def test_one_bad_line_in_a_hundred_is_skipped_and_counted(tmp_path: Path, tokenizer: Tok) -> None:
    file = tmp_path / "own.jsonl"
    records = [json.dumps({"text": f"line {number}"}) for number in range(400)]
    for bad, number in enumerate((50, 60, 70, 80), start=1):
        records[number] = '{"text": "cut'
        file.write_text("\n".join(records))

        assert len(texts(file, tokenizer)) == 400 - bad
        (one,) = account(file, tokenizer).left_out
        assert (
            one.line(names=True) == f"{bad} record{'' if bad == 1 else 's'} that cannot be read ({file}:51)"
        )


def test_more_bad_lines_are_refused_with_the_first_of_them(tmp_path: Path, tokenizer: Tok) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text(lines(*({"text": f"line {number}"} for number in range(98))) + '{"text": 3}\n{oops\n')

    said = refusal(file, tokenizer)

    assert f"{file}:99: `text` is a number, not a text; 2 of 100 records cannot be read" in said


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{oops", "own.jsonl:2: JSON is malformed"),
        ('{"text": 3}', "own.jsonl:2: `text` is a number"),
        ('{"words": "x"}', "own.jsonl:2: has the keys `words`; wanted is `text`"),
        ('{"messages": [{"role": "user"}]}', "own.jsonl:2: a message has `role`; wanted are"),
    ],
)
def test_a_broken_line_is_named_by_file_and_number(
    tmp_path: Path, tokenizer: Tok, line: str, says: str
) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text('{"text": "fine"}\n' + line + "\n")

    assert says in refusal(file, tokenizer)


def test_half_an_emoji_and_nan_are_no_bad_lines(tmp_path: Path, tokenizer: Tok) -> None:
    file = tmp_path / "own.jsonl"
    good = lines(*({"text": f"line {number}"} for number in range(5)))
    file.write_text(good + '{"text": "half \\ud83d", "score": NaN}\n')

    assert texts(file, tokenizer)[-1] == "half \ufffd"
    assert noted(file, tokenizer) == {"broken character, now U+FFFD": 1}
    assert left_out(file, tokenizer) == {}


def test_a_conversation_that_the_template_refuses_is_named_with_line_role_and_reason(
    tmp_path: Path, tokenizer: Tok
) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text(lines({"messages": [HI, HO]}, {"messages": [HI, {"role": "tool", "content": "42"}, HO]}))

    said = refusal(file, with_template(tokenizer, NO_TOOLS))

    assert f'{file}:2: the chat template refuses the turn of role "tool": Only user and assistant' in said


def test_a_system_turn_that_the_template_refuses_is_folded_and_counted(
    tmp_path: Path, tokenizer: Tok
) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text(lines({"messages": [{"role": "system", "content": "Be kind"}, HI, HO]}))
    refusing = with_template(tokenizer, NO_SYSTEM)

    assert texts(file, refusing) == ["user: Be kind\n\nHi\nassistant: Ho\n"]
    ((what, count),) = noted(file, refusing).items()
    assert "system turn" in what
    assert count == 1


def test_a_foreign_file_in_a_folder_is_left_out_and_said(tmp_path: Path, tokenizer: Tok) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "package.json").write_text('{"name": "x", "version": "1"}')
    (tmp_path / "broken.json").write_text('{"name": ')
    (tmp_path / "program").write_bytes(bytes(range(256)))
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(b"text " * 99)[:-9])
    (tmp_path / "blank.txt").write_text("\n \n")

    assert texts(tmp_path, tokenizer) == ["text"]
    assert sum(left_out(tmp_path, tokenizer).values()) == 5
    said = " ".join(left_out(tmp_path, tokenizer))
    for part in ("has the keys `name`, `version`", "that is no JSON", "that is no text", "that is damaged"):
        assert part in said


def test_the_same_file_named_alone_is_refused(tmp_path: Path, tokenizer: Tok) -> None:
    (tmp_path / "package.json").write_text('{"name": "x", "version": "1"}')
    (tmp_path / "program").write_bytes(bytes(range(256)))

    assert "has the keys `name`, `version`; wanted is" in refusal(tmp_path / "package.json", tokenizer)
    assert "program is no text but binary data" in refusal(tmp_path / "program", tokenizer)


def test_a_file_that_may_not_be_read_is_left_out_of_a_folder(
    tmp_path: Path, tokenizer: Tok, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read everything, so the system's refusal is played."""
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "b.txt").write_text("more")
    read = Path.read_bytes

    def refused(path: Path) -> bytes:
        if path.name == "b.txt":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refused)

    assert texts(tmp_path, tokenizer) == ["text"]
    assert left_out(tmp_path, tokenizer) == {"file that cannot be read: Permission denied": 1}


def test_a_file_of_unclear_encoding_is_left_out_of_a_folder_with_the_command_that_converts(
    tmp_path: Path, tokenizer: Tok
) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "b.txt").write_bytes(("שלום, מה שלומך היום? מזג האוויר נעים מאוד. " * 3).encode("cp1255"))

    (one,) = account(tmp_path, tokenizer).left_out

    assert "iconv -f" in one.line(names=True)
    assert str(tmp_path) not in one.line(names=False)
    assert texts(tmp_path, tokenizer, encoding="cp1255")[1].startswith("שלום")


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_a_file_without_text_says_so(tmp_path: Path, tokenizer: Tok, content: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(content)

    assert "a.txt holds no text" in refusal(tmp_path / "a.txt", tokenizer)


def test_the_account_is_a_few_lines_with_or_without_names(tmp_path: Path, tokenizer: Tok) -> None:
    (tmp_path / "a.txt").write_bytes("café\n".encode("cp1252"))
    (tmp_path / ".b.txt").write_text("hidden")

    found = account(tmp_path, tokenizer)

    assert found.lines() == (
        "text: 1 file, 1 document",
        f"left out: 1 hidden file ({tmp_path}/.b.txt)",
        f"noted: 1 cp1252 file ({tmp_path}/a.txt)",
    )
    assert str(tmp_path) not in " ".join(found.lines(names=False))
