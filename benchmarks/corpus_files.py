"""The text files that the tables of sim/FINDINGS.md were made with: size, SHA-256, public source, licence.

Most were prepared from their source (joined, detokenised, numbered), so that no public address has these very bytes:
`fetch` downloads what is published as it is, and takes the others from a mirror, which is any copy of such a folder
behind `https://`, `http://` or `file://`. A file whose SHA-256 differs is never put in place. With text of the same
source that was prepared otherwise, tables come out alike, not equal.
"""

from __future__ import annotations

import hashlib
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from trust.errors import UserMistake

_CHUNK: Final = 2**16
_TIMEOUT_S: Final = 30.0
"""Without a byte. Guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusFile:
    """`path` is below the data folder; `url` is where exactly these bytes are published, empty where nowhere."""

    path: str
    size: int
    sha256: str
    source: str
    licence: str
    used_by: str
    url: str = ""


FILES: Final = (
    CorpusFile(
        path="multi/de.txt",
        size=2_586_584,
        sha256="443999a68b6decdb36930a111b16a548f57c5712d16b418bdeef2db05c2a7245",
        source="de.wikipedia.org, sentences and paragraphs of articles, one a line",
        licence="CC BY-SA 3.0",
        used_by="paper_table, layer_quality",
    ),
    CorpusFile(
        path="multi/fr.txt",
        size=1_578_534,
        sha256="94abe364416c715d74254bebd9729df1daf65001a3aedbc79c8f377d1f009473",
        source="fr.wikipedia.org, paragraphs of articles, one a line; a small part under LGPL-LR",
        licence="CC BY-SA 3.0; LGPL-LR",
        used_by="paper_table, layer_quality, head_training",
    ),
    CorpusFile(
        path="multi/it.txt",
        size=1_820_290,
        sha256="d27f09386b8670d44a21cc9ca1abdbf69aadf7b6e5b25c0a58e36977ca0387f5",
        source="articles of Wikipedia in Italian, mostly translated by machine, a paragraph a line",
        licence="CC BY-SA 3.0",
        used_by="paper_table, layer_quality",
    ),
    CorpusFile(
        path="codewiki/java.txt",
        size=6_478_891,
        sha256="16ba8a68e75e83d4924426dd09764fe86b8f4041699e66b7e6b8c9d466bdd474",
        source="the Java sources of Apache commons-lang and commons-io and of google/gson, joined",
        licence="Apache-2.0",
        used_by="paper_table",
    ),
    CorpusFile(
        path="codewiki/wiki_en.txt",
        size=2_285_823,
        sha256="7424204965d98ade9f0919d0db1b55be5c16b37702c2560c3ae93f60b4fc4bcc",
        source="WikiText-2 (Merity et al. 2016, 1609.07843), valid and test, detokenised; also in "
        "github.com/pytorch/examples, word_language_model/data/wikitext-2",
        licence="CC BY-SA 3.0",
        used_by="paper_table",
    ),
    CorpusFile(
        path="dolly/train.jsonl",
        size=12_912_256,
        sha256="5caa3edec9da4432dc80135afc1c820fe429a48729d13f0864d7130bb7350ce5",
        source="databricks-dolly-15k, its first release of 15,015 records, numbered "
        "(huggingface.co/datasets/databricks/databricks-dolly-15k)",
        licence="CC BY-SA 3.0",
        used_by="paper_table, token_weighting",
    ),
    CorpusFile(
        path="e2e/train.csv",
        size=9_290_723,
        sha256="145396fc2dad4acff39b1c681bd0d4e1ba44c3576bcbf095f425e6765463513e",
        source="E2E NLG challenge (Novikova et al. 2017, 1706.09254), trainset.csv of "
        "github.com/tuetschek/e2e-dataset, rebuilt from a tokenised copy",
        licence="CC BY-SA 4.0",
        used_by="token_weighting",
    ),
    CorpusFile(
        path="e2e/test.csv",
        size=1_304_285,
        sha256="ec72a143403692bd6f560a0c5b37144beb943a370e006de9731932153d0e18ff",
        source="E2E NLG challenge, testset_w_refs.csv of github.com/tuetschek/e2e-dataset",
        licence="CC BY-SA 4.0",
        used_by="token_weighting",
        url="https://raw.githubusercontent.com/tuetschek/e2e-dataset/v1.0.0/testset_w_refs.csv",
    ),
    CorpusFile(
        path="translation/pud_en_fr_de_it.jsonl",
        size=554_922,
        sha256="d08785c226abcbc19a06e0b0521e479e4f4b78eeaf05f44da5c3aae4bffb38e7",
        source="the `# text` lines of Universal Dependencies' PUD treebanks (github.com/UniversalDependencies, "
        "UD_{English,French,German,Italian}-PUD), joined by their `# sent_id`",
        licence="CC BY-SA 3.0",
        used_by="token_weighting",
    ),
)

State = Literal["right", "missing", "differs"]


def check(folder: Path, files: Sequence[CorpusFile] = FILES) -> dict[str, State]:
    """The state of each file below `folder`, by its path there."""
    return {file.path: _state(folder / file.path, file) for file in files}


def fetch(
    folder: Path,
    *,
    mirror: str = "",
    files: Sequence[CorpusFile] = FILES,
    told: Callable[[str], None] = print,
) -> None:
    """Download into `folder` what is not right there, from `mirror` or else from where it is published.

    `told` receives a line for each file that is tried, and for each that has no address. A download that fails or
    has another SHA-256 leaves what was there. Raises `UserMistake` where `mirror` is no address.
    """
    if mirror and not mirror.startswith(("https://", "http://", "file://")):
        raise UserMistake(f"--mirror: {mirror} does not begin with https://, http:// or file://")
    for file in files:
        if _state(folder / file.path, file) == "right":
            continue
        url = f"{mirror.rstrip('/')}/{quote(file.path)}" if mirror else file.url
        if not url:
            told(f"{file.path}: published nowhere in this form; needs --mirror. Source: {file.source}")
            continue
        why = _download(url, folder / file.path, file)
        told(f"{file.path}: {why or 'fetched'} ({url})")


def listing(files: Sequence[CorpusFile] = FILES) -> str:
    lines = [
        line
        for file in files
        for line in (
            file.path,
            f"    {file.size:,} bytes, SHA-256 {file.sha256}",
            f"    source: {file.source}",
            *([f"    address: {file.url}"] if file.url else []),
            f"    licence: {file.licence}; used by {file.used_by}",
        )
    ]
    return "\n".join(lines)


def _state(place: Path, file: CorpusFile) -> State:
    try:
        if place.stat().st_size != file.size:
            return "differs"
        with place.open("rb") as held:
            found = hashlib.file_digest(held, "sha256").hexdigest()
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        raise UserMistake(f"{place} cannot be read: {error.strerror}") from None
    return "right" if found == file.sha256 else "differs"


def _download(url: str, place: Path, file: CorpusFile) -> str:
    """Put the file in place. Returns what went wrong, or nothing."""
    place.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    # Beside its place, so that putting it there is atomic and half a download is never taken for the file.
    part = place.with_suffix(place.suffix + ".part")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer, part.open("wb") as held:
            # At most one chunk past the size: an answer may be endless.
            while size <= file.size and (chunk := answer.read(_CHUNK)):
                digest.update(chunk)
                size += len(chunk)
                held.write(chunk)
        if digest.hexdigest() != file.sha256:
            return "not taken, its SHA-256 differs from that of the file the tables were made with"
        part.replace(place)
    except (HTTPException, OSError) as error:  # URLError is an OSError
        return f"not fetched, {getattr(error, 'reason', None) or error}"
    finally:
        part.unlink(missing_ok=True)
    return ""
