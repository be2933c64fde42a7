"""Data sets that are answered by writing: files become examples, and errors name file, line and cause."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gossipllm.tasks.catalogue import SampleSource, TaskName, load_samples, read_examples, sample_source
from gossipllm.tasks.examples import Generate, prompt_targets
from gossipllm.text.samples import PromptTarget
from gossipllm.text.windows import targets
from support.task_files import Read, lines
from trust.errors import UserMistake


def test_facts_with_several_sentences_are_one_example(read: Read) -> None:
    text = 'mr,ref\n"name[A], area[x]","A is in x, \n""A""."\nname[B],B is.\n"name[A], area[x]",In x is A.\n'

    examples = read("e2e", text)

    assert examples == (
        Generate("Facts: name[A], area[x]\nText:", ('A is in x, \n"A".', "In x is A.")),
        Generate("Facts: name[B]\nText:", ("B is.",)),
    )
    assert prompt_targets(examples)[1] == PromptTarget("Facts: name[A], area[x]\nText:", " In x is A.")


def test_instructions_come_with_their_context_where_there_is_one(read: Read) -> None:
    plain = {"id": 1, "instruction": "Tope or Rope?", "context": "", "response": "Tope"}
    given = {"instruction": "Who?", "context": "Ada wrote.", "response": "Ada", "category": "x"}

    assert read("instructions", lines(plain, given)) == (
        Generate("Instruction: Tope or Rope?\nResponse:", ("Tope",)),
        Generate("Instruction: Who?\nContext: Ada wrote.\nResponse:", ("Ada",)),
    )


def test_of_a_conversation_the_last_answer_is_the_target(read: Read) -> None:
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Bye"},
        {"role": "assistant", "content": "So long"},
    ]

    examples = read("instructions", lines({"messages": turns}))

    assert examples == (Generate("user: Hi\nassistant: Hello\nuser: Bye\n", ("So long",), blank=""),)


def test_a_summary_follows_the_beginning_of_its_article(read: Read) -> None:
    article = {
        "id": "news-1",
        "url": "https://news/1",
        "title": "Rain",
        "summary": "It rained.",
        "text": "Wet. " * 500,
    }

    (example,) = read("xlsum", lines(article))

    assert example == Generate(f"Article: {'Wet. ' * 400}\nSummary:", ("It rained.",))


@pytest.mark.parametrize(
    ("task", "text", "says"),
    [
        ("e2e", "", "data:1: no column mr nor ref"),
        ("e2e", "mr,text\na,b\n", "data:1: no column ref"),
        ("e2e", "mr,ref\na,b\nc\n", "data:3: not as many cells as columns"),
        ("e2e", "mr,ref\na,b,c\n", "data:2: not as many cells as columns"),
        ("e2e", "mr,ref\na,b\nc, \n", "data:3: ref is empty"),
        ("e2e", 'mr,ref\na,"b\n', "data:2: unexpected end of data"),
        ("e2e", "mr,ref\n", "data holds no examples"),
        ("instructions", '{"instruction": "a", "response": "b"}\n{"text": "c"}', "data:2: neither `instr"),
        ("instructions", '\n{"instruction": "a", "response": " "}', "data:2: `response` is empty"),
        ("instructions", "{", "data:1: Input data was truncated"),
        ("instructions", '{"messages": []}', "data:1: `messages` must end with an answer"),
        ("instructions", " \n", "data holds no examples"),
        ("xlsum", '{"id": "1", "text": "a"}', "data:1: Object missing required field `summary`"),
        ("xlsum", '{"text": " ", "summary": "b"}', "data:1: `text` is empty"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_named_with_its_error(read: Read, task: TaskName, text: str, says: str) -> None:
    with pytest.raises(UserMistake) as caught:
        read(task, text, "en-fr")

    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named_with_the_flag_that_asked_for_it(tokenizer: Any, tmp_path: Path) -> None:
    source = SampleSource("e2e", "", tmp_path / "none.csv")
    with pytest.raises(UserMistake, match=r"--data: there is no file .*none\.csv"):
        read_examples(source, tokenizer, key="--data")


def test_sources_of_samples_name_their_task() -> None:
    assert sample_source("e2e:a/b.csv") == SampleSource("e2e", "", Path("a/b.csv"))
    assert sample_source("translation:en-fr:p.jsonl") == SampleSource("translation", "en-fr", Path("p.jsonl"))
    for plain in ("embedded:fr", "notes.txt", "text:notes.txt"):
        assert sample_source(plain) is None
    for wrong in ("e2e", "copa:", "translation:en-fr"):
        with pytest.raises(UserMistake, match="is no source of samples; write"):
            sample_source(wrong)


def test_samples_of_a_file_fit_into_a_window(tmp_path: Path, tokenizer: Any) -> None:
    file = tmp_path / "t.csv"
    file.write_text("mr,ref\nname[A],A sang ere winter came.\nname[B],B slept.\n", encoding="utf-8")

    short, whole = (
        load_samples(SampleSource("e2e", "", file), tokenizer, longest=n, key="k") for n in (9, 99)
    )

    assert len(short) == len(whole) == 2
    assert max(map(len, short)) == 9
    assert tokenizer.decode(whole[1][whole[1] >= 0]) == " B slept.<|end|>"
    assert targets(whole[1]) == targets(short[1]) > 0
