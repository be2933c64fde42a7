"""The contents of a file as text: unpacked, decoded, and with what could not be decoded marked.

UTF-8 is tried first, with or without a byte-order mark, then UTF-16 and UTF-32, which a mark or their zero bytes show.
Else charset-normalizer guesses. It may guess wrong, and text in the wrong encoding is trained on as it is: the guess is
told, and a text for which the guesses contradict each other is refused, with the command that converts it.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import re
import shlex
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gossipllm.text.reading.account import shown
from gossipllm.text.reading.files import MOST_BYTES
from trust.errors import UserMistake

_OPENERS: Final = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_MARKS: Final = (
    # UTF-32 before UTF-16, whose little-endian mark it begins with.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
_SAMPLE: Final = 65_536
"""Bytes from which an encoding is guessed, and binary files are told. Guess."""

_ENCODINGS: Final = (
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "koi8_r", "koi8_u"),
    *("cp932", "euc_jp", "iso2022_jp", "gb18030", "big5", "cp949", "mac_roman", "cp850", "cp866"),
)
"""Encodings that are guessed. Among all that Python knows, a French letter is taken for Baltic."""

_SIGN_IN_WORD: Final = re.compile(r"(?<=[^\W\d_])[^\w\s\x00-\x7f\u2019\u00ad\u00b7](?=[^\W\d_])")
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_MULTIBYTE: Final = re.compile(rb"[\xc2-\xf4][\x80-\xbf]+")
_CONTROLS: Final = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]")
_MOST_BROKEN: Final = 0.05
"""Share of a file's characters beyond ASCII that may be broken while it still counts as UTF-8. Guess."""


class UnreadableFileError(Exception):
    """A file whose contents are no text, or text that cannot be read. Its message begins after the file's name;
    `cure` is what the user can do, empty where there is nothing."""

    def __init__(self, why: str, cure: str = "") -> None:
        super().__init__(f"{why}: {cure}" if cure else why)
        self.why = why
        self.cure = cure


@dataclass(frozen=True, slots=True)
class Decoded:
    """A text with line ends as "\\n". `encoding` is empty for UTF-8; `mended` counts U+FFFD in place of what is no
    character."""

    text: str
    encoding: str = ""
    mended: int = 0


def read_bytes(path: Path, packing: str = "") -> bytes:
    """The contents of a file, unpacked. Raises `UnreadableFileError`."""
    try:
        if not packing:
            if path.stat().st_size > MOST_BYTES:
                raise UnreadableFileError(_too_large())
            return path.read_bytes()
        with _OPENERS[packing](path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise UnreadableFileError(f"is damaged: {error}") from None
    except OSError as error:
        # bz2 reports damage as a bare OSError.
        raise UnreadableFileError(
            f"cannot be read: {error.strerror}" if error.strerror else f"is damaged: {error}"
        ) from None
    if len(data) > MOST_BYTES:
        raise UnreadableFileError(_too_large())
    return data


def read_text(path: Path, key: str, *, encoding: str = "") -> str:
    """The text of one file that the user named. Raises `UserMistake`; `key` is the setting or flag that named it."""
    try:
        return decode(read_bytes(path), path, encoding).text
    except UnreadableFileError as error:
        raise UserMistake(f"{key}: {shown(path)} {error}") from None


def decode(data: bytes, path: Path, encoding: str = "") -> Decoded:
    """The text of `data`, which `path` held, in a declared encoding or else the one it seems to have. Raises
    `UnreadableFileError`."""
    if encoding:
        return _declared(data, encoding)
    for mark, name in _MARKS:
        if data.startswith(mark):
            return _made(data.decode(name, "replace"), "" if name == "utf-8-sig" else name)
    wide = _without_mark(data)
    if wide:
        return _made(data.decode(wide, "replace"), wide)
    if _is_binary(data):
        raise UnreadableFileError("is no text but binary data")
    try:
        return _made(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        return _not_quite_utf8(data) or _guessed(data, path, error)


def without_halves(text: str) -> tuple[str, int]:
    """The text with U+FFFD in place of each half of a character, and how many there were.

    Two halves that belong together become their character: some programs write emoji as a pair of halves.
    """
    if not _SURROGATES.search(text):
        return text, 0
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return joined, joined.count("\ufffd") - text.count("\ufffd")


def _made(text: str, encoding: str = "") -> Decoded:
    mended, count = without_halves(text)
    if "\r" in mended:
        mended = mended.replace("\r\n", "\n").replace("\r", "\n")
    return Decoded(mended, encoding, count)


def _too_large() -> str:
    return f"is larger than {MOST_BYTES >> 30} GiB; divide it"


def _declared(data: bytes, encoding: str) -> Decoded:
    try:
        return _made(data.decode(encoding).removeprefix("\ufeff"), encoding)
    except UnicodeDecodeError as error:
        raise UnreadableFileError(f"is not {encoding}, as data.encoding says (byte {error.start})") from None


def _without_mark(data: bytes) -> str:
    """UTF-16 without a mark, shown by zero bytes at every second place: most of its text is below U+0100."""
    sample = data[: _SAMPLE & ~1]
    if len(sample) < 4 or b"\x00" not in sample:
        return ""
    half = len(sample) // 2
    even, odd = sample[::2].count(0) / half, sample[1::2].count(0) / half
    name = "utf-16-le" if odd > 0.4 and even < 0.02 else "utf-16-be" if even > 0.4 and odd < 0.02 else ""
    text = sample.decode(name, "replace") if name else ""
    written = sum(one.isprintable() or one in "\t\n\r\f" for one in text)
    return name if written > 0.98 * len(text) else ""


def _is_binary(data: bytes) -> bool:
    sample = data[:_SAMPLE]
    if sample.startswith((b"%PDF-", b"{\\rtf", b"%!PS")) or b"\x00" in sample:
        return True
    return len(_CONTROLS.findall(sample)) > 0.02 * len(sample)


def _not_quite_utf8(data: bytes) -> Decoded | None:
    """UTF-8 of which a few characters are broken, or halves of characters were written by themselves."""
    text = data.decode("utf-8", "surrogatepass" if _passes(data) else "replace")
    mended, broken = without_halves(text)
    broken += text.count("\ufffd")
    whole = len(_MULTIBYTE.findall(data))
    if not whole or broken > max(1, _MOST_BROKEN * whole) or broken >= whole:
        return None
    made = _made(mended)
    return Decoded(made.text, "", broken)


def _passes(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def _guessed(data: bytes, path: Path, error: UnicodeDecodeError) -> Decoded:
    # Imported here: only few files need it.
    import charset_normalizer

    # The part around what is no ASCII: a long English text may have its first umlaut late.
    sample = data[max(0, error.start - _SAMPLE // 2) :][:_SAMPLE]
    matches: Any = charset_normalizer.from_bytes(sample, cp_isolation=list(_ENCODINGS))
    found = [(one.encoding, one.chaos, one.coherence, str(one)) for one in matches if _plausible(str(one))]
    # The best by both measures, with all that are as good; the first of each reading.
    readings: dict[str, str] = {}
    for encoding, chaos, coherence, text in found:
        if chaos <= found[0][1] and coherence >= found[0][2]:
            readings.setdefault(text, encoding)
    western = _western(sample)
    encoding = (
        next(iter(readings.values())) if len(readings) == 1 else "cp1252" if western in readings else ""
    )
    if encoding:
        try:
            return _made(data.decode(encoding), encoding.replace("_", "-"))
        except UnicodeDecodeError:
            pass
    maybe = [name.replace("_", "-") for name in readings.values()] or ["cp1252"]
    source, target = shlex.quote(shown(path)), shlex.quote(shown(path.stem + "-utf8" + path.suffix))
    raise UnreadableFileError(
        f"is not UTF-8 and may be {' or '.join(maybe[:3])}",
        f'convert it, for example with "iconv -f {maybe[0].upper()} -t UTF-8 {source} > {target}", or set '
        "data.encoding",
    )


def _plausible(text: str) -> bool:
    """Whether characters beyond ASCII that lie between letters are letters, as in every language's words. A reading by
    a wrong encoding has signs there."""
    beyond = sum(one > "\x7f" for one in text)
    return len(_SIGN_IN_WORD.findall(text)) <= 0.1 * beyond


def _western(data: bytes) -> str:
    """The reading by Windows-1252, which most files that are not UTF-8 have; empty where there is none."""
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return ""
