"""Tests of records: read where their keys are unmistakable, else the keys and what is wanted are named."""

from __future__ import annotations

import json
import math
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from gossipllm.text.reading.contents import UnreadableFileError
from gossipllm.text.reading.files import Format
from gossipllm.text.reading.json_values import JsonError, json_value
from gossipllm.text.reading.messages import UnknownRecordError
from gossipllm.text.reading.records import Dialogue, Plain, Prompted, read_record
from gossipllm.text.reading.tables import parquet_records, records_of

HI = {"role": "user", "content": "Hi"}
HO = {"role": "assistant", "content": "Ho"}
CALL = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}


def messages(record: Any) -> list[tuple[str, str]]:
    found = read_record(record)
    assert isinstance(found, Dialogue)
    return [(one["role"], one["content"]) for one in found.messages]


@pytest.mark.parametrize(
    "record",
    [
        {"messages": [HI, HO]},
        {"messages": [HI, HO], "text": None, "id": 3},
        {"Messages": [HI, HO]},
        {"messages": json.dumps([HI, HO])},
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]},
        {"conversations": [HI, HO]},
        {"conversation": [{"role": "human", "text": "Hi"}, {"role": "model", "text": "Ho"}]},
        {"instruction": "Hi", "input": "", "output": "Ho"},
        {"instruction": "Hi", "output": "Ho"},
        {"instruction": "Hi", "context": None, "response": "Ho"},
        {"question": "Hi", "answer": "Ho"},
        {"prompt": [HI], "completion": [HO]},
        {"prompt": [HI], "completion": "Ho"},
        [HI, HO],
        {"messages": [{"role": "User", "content": [{"type": "text", "text": "Hi"}]}, HO]},
    ],
)
def test_a_conversation_is_the_same_by_whatever_keys(record: Any) -> None:
    assert messages(record) == [("user", "Hi"), ("assistant", "Ho")]


def test_an_instruction_with_an_input_and_a_history_keeps_both() -> None:
    record = {
        "system": "Be kind",
        "instruction": "Sum up",
        "input": "A text",
        "output": "Short",
        "history": [["Hi", "Ho"]],
    }

    assert messages(record) == [
        ("system", "Be kind"),
        ("user", "Hi"),
        ("assistant", "Ho"),
        ("user", "Sum up\n\nA text"),
        ("assistant", "Short"),
    ]


def test_parts_that_are_no_text_are_left_out_and_counted() -> None:
    parts = [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "What?"}, "And?"]
    found = read_record({"messages": [{"role": "user", "content": parts}, HO]})

    assert isinstance(found, Dialogue)
    assert found.messages[0]["content"] == "What?\nAnd?"
    assert found.lost_parts == 1


def test_a_call_of_a_tool_has_null_content_and_its_arguments_as_an_object() -> None:
    turns = [
        HI,
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": None},
        HO,
    ]
    found = read_record({"messages": turns, "tools": [{"name": "add"}]})

    assert isinstance(found, Dialogue)
    assert found.messages[1]["content"] == ""
    assert found.messages[1]["tool_calls"][0]["function"]["arguments"] == {"a": 1}
    assert found.messages[2] == {"role": "tool", "content": ""}
    assert found.tools == ({"type": "function", "function": {"name": "add"}},)


def test_the_older_form_of_a_call_is_a_call_too() -> None:
    turns = [
        HI,
        {"role": "assistant", "content": None, "function_call": {"name": "add", "arguments": "not json"}},
    ]
    found = read_record({"messages": turns})

    assert isinstance(found, Dialogue)
    assert found.messages[1]["tool_calls"][0]["function"] == {"name": "add", "arguments": "not json"}


@pytest.mark.parametrize(
    ("record", "made"),
    [
        ({"text": "plain", "id": 3}, Plain("plain")),
        ({"text": "plain", "messages": [HI, HO]}, Plain("plain")),
        ({"content": "plain"}, Plain("plain")),
        ("plain", Plain("plain")),
        ({"prompt": "2+2 =", "completion": " 4"}, Prompted("2+2 =", " 4")),
        ({"prompt": "2+2?", "completion": "4"}, Prompted("2+2?", "\n4")),
        ({"prompt": "2+2?\n", "response": "4"}, Prompted("2+2?\n", "4")),
    ],
)
def test_texts_and_prompts_are_taken_as_they_are(record: Any, made: object) -> None:
    assert read_record(record) == made


@pytest.mark.parametrize(
    "record",
    [
        {"text": ""},
        {"text": None},
        {"text": math.nan},
        {"prompt": "a", "completion": None},
        {"instruction": "a", "output": math.nan},
        {"messages": [{"role": "user", "content": ""}]},
        {"a": None, "b": ""},
        " ",
    ],
)
def test_an_empty_record_is_none(record: Any) -> None:
    assert read_record(record) is None


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"words": "x", "n": 1}, "has the keys `words`, `n`; wanted is `text`, `messages`"),
        ({"text": 3}, "`text` is a number, not a text"),
        ({"prompt": "a", "completion": {"b": 1}}, "`completion` is an object, not a text"),
        ({"messages": [{"role": "user"}]}, "a message has `role`; wanted are `role` and `content`"),
        ({"messages": ["Hi"]}, "a text among its messages"),
        ({"messages": [{"role": "user", "content": 3}]}, "the `content` of a message is a number"),
        ({"instruction": "alone"}, "has the keys `instruction`"),
        (3, "a number, where a record with"),
        ({"\x1b[31m": "x"}, "`\\x1b[31m`"),
    ],
)
def test_a_record_with_other_keys_says_what_it_has_and_what_is_wanted(record: Any, says: str) -> None:
    with pytest.raises(UnknownRecordError) as caught:
        read_record(record)

    assert says in str(caught.value)


def test_json_with_nan_infinity_and_halves_of_emoji_is_read() -> None:
    value, mended = json_value('{"text": "a \\ud83d b", "score": NaN, "more": [-Infinity, "\\ud83d\\ude00"]}')

    assert value["text"] == "a \ufffd b"
    assert value["more"][1] == "\U0001f600"
    assert mended == 1


@pytest.mark.parametrize("text", ['{"text": "cut', "{oops}", "", "[" * 100_000, "\ud83d"])
def test_what_is_no_json_is_told_in_one_line(text: str) -> None:
    with pytest.raises(JsonError) as caught:
        json_value(text)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (Format.JSON_LINES, '{"text": "a"}\n\n{"text": "b"}\n'),
        (Format.JSON, '[{"text": "a"}, {"text": "b"}]'),
        (Format.JSON, '{"version": 1, "data": [{"text": "a"}, {"text": "b"}]}'),
        (Format.JSON, '{"text": "a"}\n{"text": "b"}\n'),
        (Format.JSON, '["a", "b"]'),
        (Format.TABLE, "id,text\n1,a\n2,b\n"),
        (Format.TABLE, 'id;text\n1;"a"\n2;b\n'),
        (Format.TABLE, "id\ttext\n1\ta\n2\tb\n"),
        (Format.TABLE, "Text\na\nb\n"),
    ],
)
def test_records_are_the_same_in_every_format(form: Format, text: str) -> None:
    found = [read_record(one.value) for one in records_of(text, Path("x"), form)]

    assert found == [Plain("a"), Plain("b")]


def test_a_json_file_may_be_one_record_or_one_conversation() -> None:
    for text in ('{"messages": [%s, %s]}', "[%s, %s]"):
        (found,) = records_of(text % (json.dumps(HI), json.dumps(HO)), Path("x"), Format.JSON)
        assert messages(found.value) == [("user", "Hi"), ("assistant", "Ho")]


def test_each_record_has_its_place() -> None:
    lines = list(records_of('{"text": "a"}\n\n{oops\n', Path("x.jsonl"), Format.JSON_LINES))
    rows = list(records_of('text,n\n"a\nb",1\nc\n', Path("x.csv"), Format.TABLE))

    assert [(one.where, bool(one.problem)) for one in lines] == [("x.jsonl:1", False), ("x.jsonl:3", True)]
    assert [(one.where, one.problem) for one in rows] == [
        ("x.csv:3", ""),
        ("x.csv:4", "not as many cells as columns"),
    ]


def test_a_quote_that_is_never_closed_is_no_table() -> None:
    with pytest.raises(UnreadableFileError, match="line 3: unexpected end of data"):
        list(records_of('text\na\n"b\nc\nd\n', Path("x.csv"), Format.TABLE))


def test_a_cell_may_be_longer_than_pythons_limit() -> None:
    (found,) = records_of("text\n" + "a" * 200_000 + "\n", Path("x.csv"), Format.TABLE)

    assert len(found.value["text"]) == 200_000


def test_parquet_gives_rows_and_damage_is_told(tmp_path: Path) -> None:
    pyarrow: Any = import_module("pyarrow")
    file = tmp_path / "x.parquet"
    import_module("pyarrow.parquet").write_table(
        pyarrow.Table.from_pylist([{"text": "a"}, {"text": "b"}]), file
    )
    data = file.read_bytes()

    assert [one.value for one in parquet_records(data, file)] == [{"text": "a"}, {"text": "b"}]
    with pytest.raises(UnreadableFileError, match="is damaged"):
        list(parquet_records(data[:-9], file))


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)

    with pytest.raises(UnreadableFileError, match="pip install pyarrow"):
        list(parquet_records(b"", Path("x.parquet")))
