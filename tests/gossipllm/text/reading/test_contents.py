"""Tests of contents: encodings are found or the command that converts is named; nothing else is taken for text."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipllm.text.reading.contents import (
    Decoded,
    UnreadableFileError,
    decode,
    read_bytes,
    read_text,
    without_halves,
)
from trust.errors import UserMistake

FRENCH = "Le café était fermé, et la fenêtre de l'hôtel à côté aussi. Noël à Genève."
PLACE = Path("notes/my file.txt")


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (FRENCH.encode(), ""),
        (codecs.BOM_UTF8 + FRENCH.encode(), ""),
        (FRENCH.encode("utf-16"), "utf-16"),
        (codecs.BOM_UTF16_BE + FRENCH.encode("utf-16-be"), "utf-16"),
        (FRENCH.encode("utf-16-le"), "utf-16-le"),
        (FRENCH.encode("utf-16-be"), "utf-16-be"),
        (FRENCH.encode("utf-32"), "utf-32"),
        (FRENCH.encode("latin-1"), "cp1252"),
        (FRENCH.encode("cp1252"), "cp1252"),
        (FRENCH.encode("mac_roman"), "mac-roman"),
    ],
)
def test_a_text_is_read_in_the_encoding_that_it_has(data: bytes, encoding: str) -> None:
    assert decode(data, PLACE) == Decoded(FRENCH, encoding)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Die Straße über den Fluß führt nach Österreich. Schöne Grüße an Jürgen.", "cp1252"),
        ("He said \u201cno\u201d \u2014 and it\u2019s over. The price is 5 \u20ac.", "cp1252"),
        ("Привет, как дела? Сегодня хорошая погода, и мы идём гулять в парк.", "cp1251"),
        ("Привет, как дела? Сегодня хорошая погода, и мы идём гулять в парк.", "koi8_r"),
        ("Zażółć gęślą jaźń. Łódź i Kraków są piękne.", "cp1250"),
        ("今天天气很好我们去公园散步吧", "gb18030"),
        ("café", "cp1252"),
    ],
)
def test_texts_of_many_languages_are_read_as_they_were_written(text: str, encoding: str) -> None:
    found = decode(text.encode(encoding), PLACE)

    assert found.text == text
    assert found.encoding


def test_an_umlaut_late_in_a_long_text_is_seen() -> None:
    text = "plain words in a row, nothing else. " * 5_000 + "Grüße aus Köln"

    assert decode(text.encode("cp1252"), PLACE).text == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("שלום, מה שלומך היום? מזג האוויר נעים מאוד. " * 3, "cp1255"),
        ("今日は天気がいいので散歩に行きましょう。", "shift_jis"),
    ],
)
def test_an_unclear_encoding_is_refused_with_the_command_that_converts(text: str, encoding: str) -> None:
    with pytest.raises(UnreadableFileError) as caught:
        decode(text.encode(encoding), PLACE)

    assert "iconv -f " in str(caught.value)
    assert "'notes/my file.txt' > 'my file-utf8.txt'" in str(caught.value)
    assert "data.encoding" in str(caught.value)


def test_a_declared_encoding_is_taken_at_its_word() -> None:
    hebrew = "שלום, מה שלומך היום?"

    assert decode(hebrew.encode("cp1255"), PLACE, "cp1255").text == hebrew
    with pytest.raises(UnreadableFileError, match=r"is not utf-8, as data\.encoding says .byte 3"):
        decode(b"caf\xe9", PLACE, "utf-8")


def test_a_broken_character_in_utf8_is_marked_and_counted() -> None:
    text = FRENCH * 20

    found = decode(text.encode()[:-5] + b"\xe9" + b" end", PLACE)

    assert found.encoding == ""
    assert found.mended == 1
    assert found.text.endswith("\ufffd end")


def test_a_half_of_an_emoji_in_bytes_is_marked_and_both_halves_are_joined() -> None:
    both = "é" * 30 + "\U0001f600"
    halves = "é" * 30 + "\ud83d\ude00"

    assert decode(halves.encode("utf-8", "surrogatepass"), PLACE).text == both
    half = decode(("é" * 30 + "\ud83d!").encode("utf-8", "surrogatepass"), PLACE)
    assert (half.text[-2:], half.mended) == ("\ufffd!", 1)


@pytest.mark.parametrize(
    "data",
    [
        b"%PDF-1.7 text",
        b"{\\rtf1 text}",
        b"\x00\x05\x16\x07AppleDouble",
        bytes(range(256)),
        b"\x01\x02\x03" * 9,
    ],
)
def test_binary_data_is_no_text(data: bytes) -> None:
    with pytest.raises(UnreadableFileError, match="no text but binary"):
        decode(data, PLACE)


@given(st.binary())
def test_any_bytes_are_text_or_refused_in_one_line(data: bytes) -> None:
    try:
        said = decode(data, PLACE).text.replace("\n", "")
    except UnreadableFileError as error:
        said = str(error)

    assert "\n" not in said
    said.encode("utf-8")


@given(st.text(alphabet=st.sampled_from("aé\ufffd\ud83d\ude00\U0001f600")))
def test_text_without_halves_has_a_mark_for_each_and_can_be_written(text: str) -> None:
    mended, count = without_halves(text)

    mended.encode("utf-8")
    assert mended.count("\ufffd") == text.count("\ufffd") + count
    assert count == len(re.findall("\ud83d(?!\ude00)|(?<!\ud83d)\ude00", text))


@pytest.mark.parametrize(
    ("packing", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_packed_files_are_unpacked_and_cut_ones_are_refused(
    tmp_path: Path, packing: str, pack: Callable[[bytes], bytes]
) -> None:
    packed = pack(FRENCH.encode())
    file = tmp_path / "a"
    file.write_bytes(packed)

    assert read_bytes(file, packing) == FRENCH.encode()
    for damaged in (packed[:-9], b"no such thing"):
        file.write_bytes(damaged)
        with pytest.raises(UnreadableFileError, match="is damaged"):
            read_bytes(file, packing)


def test_line_ends_of_every_system_are_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a\r\nb\rc\n")

    assert read_text(tmp_path / "a.txt", "key") == "a\nb\nc\n"


def test_a_named_file_that_cannot_be_read_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserMistake, match=r"key: .*none\.txt cannot be read: No such file"):
        read_text(tmp_path / "none.txt", "key")
