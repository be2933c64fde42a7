"""Readers of parallel sentences: one file with all languages, or a folder with one file for each language.

Every reader raises `UserMistake` that names the file, the line and what is wrong; `key` is the setting or flag that
named the file or folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gossipllm.tasks.examples import Generate
from gossipllm.tasks.records import json_lines, some
from gossipllm.text.reading.account import shown
from gossipllm.text.reading.contents import read_text
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


def read_translation(place: Path, key: str, pair: str) -> tuple[Generate, ...]:
    """A .jsonl with a sentence for each language code, or a folder with a file for each language; `pair` names source
    and target language, as "en-fr".

    In a folder, the file of a language has its code before or after the first dot, as in FLORES-200's
    `devtest/eng_Latn.devtest` (2207.04672) and IN22's `gen/test.eng_Latn` (2305.16307). Its lines are the sentences,
    and equal lines of two files translate each other.
    """
    source, _, target = pair.partition("-")
    if not source or not target or source == target:
        raise UserMistake(f'a pair of languages is from-to, as "en-fr", got "{pair}"')
    pairs = _parallel(place, key, source, target) if place.is_dir() else _in_lines(place, key, source, target)
    names = [_LANGUAGES.get(code, code) for code in (source, target)]
    found = [Generate(f"{names[0]}: {one}\n{names[1]}:", (other,)) for one, other in pairs]
    return tuple(some(found, place))


def _in_lines(file: Path, key: str, source: str, target: str) -> Iterator[tuple[str, str]]:
    for where, record in json_lines(file, key, dict[str, Any]):
        sentences: list[str] = []
        for code in (source, target):
            sentence: Any = record.get(code)
            if not isinstance(sentence, str) or not sentence.strip():
                held = ", ".join(sorted(name for name in record if name != "id"))
                raise UserMistake(f'{where}: no sentence for "{code}"; this line has {held}')
            sentences.append(sentence.strip())
        yield sentences[0], sentences[1]


def _parallel(folder: Path, key: str, source: str, target: str) -> Iterator[tuple[str, str]]:
    files = [_file_of(folder, key, code) for code in (source, target)]
    # Only "\n" ends a line: a sentence may hold U+2028 and its like.
    one, other = (read_text(file, key).removesuffix("\n").split("\n") for file in files)
    if len(one) != len(other):
        raise UserMistake(
            f"{shown(files[0])} has {len(one)} lines and {shown(files[1])} {len(other)}: equal lines should translate "
            "each other"
        )
    for number, sentences in enumerate(zip(one, other, strict=True), start=1):
        for file, sentence in zip(files, sentences, strict=True):
            if not sentence.strip():
                raise UserMistake(f"{shown(file)}:{number}: no sentence")
        yield sentences[0].strip(), sentences[1].strip()


def _file_of(folder: Path, key: str, code: str) -> Path:
    """The only file of a language in the folder."""
    parts = {file: file.name.partition(".") for file in sorted(folder.iterdir()) if file.is_file()}
    found = [file for file, (before, dot, after) in parts.items() if dot and code in (before, after)]
    if len(found) != 1:
        what = f"{len(found)} files" if found else "no file"
        raise UserMistake(f'{key}: {shown(folder)} has {what} of "{code}", such as {code}.dev or test.{code}')
    return found[0]
