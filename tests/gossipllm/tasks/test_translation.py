"""Parallel sentences in one file or a folder of files: pairs become examples, and errors name file, line and cause."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gossipllm.tasks.catalogue import SampleSource, read_examples
from gossipllm.tasks.examples import Generate
from support.task_files import Read, lines
from trust.errors import UserMistake


def from_folder(folder: Path, pair: str) -> Any:
    return read_examples(SampleSource("translation", pair, folder), None, key="--data")


def write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")


def test_a_pair_of_languages_picks_two_sentences_of_a_line(read: Read) -> None:
    record = {"id": "n1", "en": "Good day", "fr": "Bonjour", "xx": "Zut"}

    assert read("translation", lines(record), "en-fr") == (
        Generate("English: Good day\nFrench:", ("Bonjour",)),
    )
    assert read("translation", lines(record), "fr-xx") == (Generate("French: Bonjour\nxx:", ("Zut",)),)


def test_a_line_without_a_language_is_named(read: Read) -> None:
    with pytest.raises(UserMistake, match=r'data:1: no sentence for "fr"; this line has de, en'):
        read("translation", lines({"id": "1", "en": "a", "de": "b"}), "en-fr")


@pytest.mark.parametrize("pair", ["", "en", "en-", "-fr", "en-en"])
def test_a_pair_of_languages_has_two(read: Read, pair: str) -> None:
    with pytest.raises(UserMistake, match="a pair of languages is from-to"):
        read("translation", lines({"en": "a"}), pair)


def test_equal_lines_of_two_files_are_translations_as_in_flores(tmp_path: Path) -> None:
    write(
        tmp_path,
        eng_Latn__devtest="Good day\nBye\u2028now\n",
        fra_Latn__devtest="Bonjour\nSalut\n",
        readme="",
    )

    assert from_folder(tmp_path, "eng_Latn-fra_Latn") == (
        Generate("eng_Latn: Good day\nfra_Latn:", ("Bonjour",)),
        Generate("eng_Latn: Bye\u2028now\nfra_Latn:", ("Salut",)),
    )


def test_the_code_may_stand_behind_the_dot_as_in_in22(tmp_path: Path) -> None:
    write(tmp_path, test__eng_Latn="Good day", test__hin_Deva="\u0928\u092e\u0938\u094d\u0924\u0947")

    assert from_folder(tmp_path, "hin_Deva-eng_Latn") == (
        Generate("hin_Deva: \u0928\u092e\u0938\u094d\u0924\u0947\neng_Latn:", ("Good day",)),
    )


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ({"a__dev": "x\ny\n", "b__dev": "x\n"}, r"a\.dev has 2 lines and .*b\.dev 1"),
        ({"a__dev": "x\ny\n", "b__dev": "x\n \n"}, r"b\.dev:2: no sentence"),
        ({"a__dev": "x\n"}, r'--data: .* has no file of "b", such as b\.dev or test\.b'),
        ({"a__dev": "x", "b__dev": "x", "b__devtest": "x"}, r'has 2 files of "b"'),
    ],
)
def test_a_folder_that_is_not_parallel_is_refused(tmp_path: Path, texts: dict[str, str], says: str) -> None:
    write(tmp_path, **texts)
    with pytest.raises(UserMistake, match=says) as caught:
        from_folder(tmp_path, "a-b")

    assert "\n" not in str(caught.value)
