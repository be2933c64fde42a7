"""Make the pretraining corpus of the embedded base model: English prose from Debian's documentation packages.

The packages named in `packages.py` are fetched by `apt-get download` from the configured mirror and
unpacked without root by `dpkg-deb -x`. The output is `train.txt` and `validation.txt`, one document a
line, and `packages.csv` with each package's version, licence, number of documents and bytes of prose.
It takes four gigabytes of disk and five minutes.

\b
    python -m gossipllm.base.making.corpus --work packages --out corpus

Only the first copy of a paragraph is kept, in whatever package it occurs, because manuals repeat
themselves. A hash of its name decides whether a document is held out for validation, so that the
split does not change when packages are added.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import re
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click

from gossipllm.base.making.packages import PACKAGES
from gossipllm.base.making.prose import html_prose, pod_prose

VALIDATION_PER_MILLE = 15
"""Documents per thousand that are held out for validation: 1.5 %, more than a megabyte. Guess."""

_SHORTEST_DOCUMENT = 300
"""Pages with fewer characters of new prose than this are dropped as stubs. Guess."""

_LONGEST_PAGE_BYTES = 3_000_000
"""Larger pages are dropped: such a page is a whole manual, which the package also has in chapters."""

_PAGE = re.compile(r"\.(x?html?|page|pod)(\.en)?(\.gz)?$")
_NO_PROSE = re.compile(
    r"change-?log|/changes|whats-?new|release|/news|delta\.pod|genindex|modindex|/_sources|/gallery|"
    r"auto_examples|copying|licen[cs]e|hierarchy|/search|doc-index|-index\.|translations",
    re.IGNORECASE,
)
_OTHER_LANGUAGE = re.compile(
    r"/share/help/(?!C/)|/(ca|cs|da|de|el|es|fi|fr|hu|it|ja|ko|nb|nl|nn|pl|pt|pt_BR|ro|ru|sl|sv|tr|"
    r"uk|zh_CN|zh_TW|zh)/|[._-](ca|cs|da|de|es|fr|hu|it|ja|ko|nl|pl|pt|pt-br|ru|tr|zh-cn)\.html"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusDocument:
    """The prose of one page of a package. `name` is `package/path`, with the page's path inside the package."""

    name: str
    paragraphs: list[str]

    @property
    def held_out(self) -> bool:
        digest = hashlib.blake2b(self.name.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") % 1000 < VALIDATION_PER_MILLE

    @property
    def line(self) -> str:
        return " ".join(self.paragraphs) + "\n"


def download(packages: Iterable[str], debs: Path) -> None:
    """Download the packages that `debs` does not hold yet, from the configured apt sources."""
    debs.mkdir(parents=True, exist_ok=True)
    missing = [name for name in packages if not list(debs.glob(f"{name}_*.deb"))]
    if missing:
        subprocess.run(["apt-get", "download", *missing], cwd=debs, check=True)


def unpack(deb: Path, root: Path) -> None:
    """Unpack a package into `root`, unless that folder exists already."""
    if not root.exists():
        root.mkdir(parents=True)
        subprocess.run(["dpkg-deb", "-x", deb, root], check=True)


def version(deb: Path) -> str:
    """The version of a package by its file name, `name_version_architecture.deb`, in which apt writes the colon of an
    epoch as `%3a`."""
    return deb.name.split("_")[1].replace("%3a", ":")


def pages(root: Path) -> list[Path]:
    """The pages of an unpacked package that may hold English prose, sorted by path."""
    found: list[Path] = []
    for path in sorted(root.rglob("*")):
        name = "/" + path.relative_to(root).as_posix()
        if not _PAGE.search(name) or _NO_PROSE.search(name) or _OTHER_LANGUAGE.search(name):
            continue
        if path.is_symlink() or not path.is_file() or path.stat().st_size >= _LONGEST_PAGE_BYTES:
            continue
        found.append(path)
    return found


def read_page(path: Path) -> list[str]:
    """The paragraphs of prose on a page: POD by its suffix, otherwise HTML or Mallard."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    text = data.decode("utf-8", errors="replace")
    return pod_prose(text) if path.suffix == ".pod" else html_prose(text)


def unseen(paragraphs: Iterable[str], seen: set[bytes]) -> list[str]:
    """The paragraphs whose digests are not in `seen`; their digests are added to it.

    Paragraphs with undecodable bytes are dropped.
    """
    fresh: list[str] = []
    for paragraph in paragraphs:
        digest = hashlib.blake2b(paragraph.encode(), digest_size=12).digest()
        if digest not in seen and "\ufffd" not in paragraph:
            seen.add(digest)
            fresh.append(paragraph)
    return fresh


def documents(
    package: str, root: Path, seen: set[bytes], pool: ProcessPoolExecutor
) -> Iterator[CorpusDocument]:
    """The documents of an unpacked package, in the order of their paths."""
    paths = pages(root)
    for path, paragraphs in zip(paths, pool.map(read_page, paths, chunksize=16), strict=True):
        fresh = unseen(paragraphs, seen)
        if sum(map(len, fresh)) >= _SHORTEST_DOCUMENT:
            name = f"{package}/{path.relative_to(root).as_posix()}"
            yield CorpusDocument(name=name, paragraphs=fresh)


def write_corpus(work: Path, out: Path, *, processes: int) -> None:
    """Write `train.txt`, `validation.txt` and `packages.csv` from the packages under `work/deb`."""
    out.mkdir(parents=True, exist_ok=True)
    seen: set[bytes] = set()
    with (
        (out / "train.txt").open("w", encoding="utf-8") as train,
        (out / "validation.txt").open("w", encoding="utf-8") as validation,
        (out / "packages.csv").open("w", encoding="utf-8", newline="") as table,
        ProcessPoolExecutor(processes) as pool,
    ):
        rows = csv.writer(table)
        rows.writerow(("package", "version", "licence", "documents", "bytes"))
        for package, licence in PACKAGES.items():
            (deb,) = (work / "deb").glob(f"{package}_*.deb")
            unpack(deb, work / "root" / package)
            count = size_bytes = 0
            for document in documents(package, work / "root" / package, seen, pool):
                (validation if document.held_out else train).write(document.line)
                count, size_bytes = count + 1, size_bytes + len(document.line.encode())
            rows.writerow((package, version(deb), licence, count, size_bytes))
            click.echo(f"{package:30} {count:6} documents {size_bytes / 1e6:6.2f} MB")


@click.command(help=__doc__)
@click.option("--work", type=click.Path(path_type=Path), required=True, help="Folder for the packages.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the corpus.")
@click.option("--processes", default=2, show_default=True, help="Number of pages read in parallel.")
def main(work: Path, out: Path, processes: int) -> None:
    download(PACKAGES, work / "deb")
    write_corpus(work, out, processes=processes)


if __name__ == "__main__":
    main()
