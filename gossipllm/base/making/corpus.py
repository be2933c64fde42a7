"""English prose out of Debian's documentation packages, for the embedded base model.

The packages named in `packages.py` come from the reader's own mirror through `apt-get download`,
are unpacked without root by `dpkg-deb -x`, and leave one document a line in `train.txt` and
`validation.txt`, and each package's version, licence, documents and bytes of prose in
`packages.csv`. It takes four gigabytes of disk and five minutes.

\b
    python -m gossipllm.base.making.corpus --work packages --out corpus

A paragraph is kept the first time it is seen, in any package: manuals repeat themselves. A
document is held out for validation by a hash of its name, so that the split does not change when
packages are added.
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
"""Documents in a thousand that are held out: 1.5 %, more than a megabyte. Guess."""

_SHORTEST_DOCUMENT = 300
"""Characters of new prose below which a page is a stub. Guess."""

_LONGEST_PAGE_BYTES = 3_000_000
"""Larger pages are a whole manual in one file, which is there in chapters as well."""

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
    """One page of a package; `name` is the package and the page's path inside it."""

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
    """Fetch the packages that are not there yet, with the reader's own apt sources."""
    debs.mkdir(parents=True, exist_ok=True)
    missing = [name for name in packages if not list(debs.glob(f"{name}_*.deb"))]
    if missing:
        subprocess.run(["apt-get", "download", *missing], cwd=debs, check=True)


def unpack(deb: Path, root: Path) -> None:
    if not root.exists():
        root.mkdir(parents=True)
        subprocess.run(["dpkg-deb", "-x", deb, root], check=True)


def version(deb: Path) -> str:
    """From `name_version_architecture.deb`, where apt writes an epoch's colon as `%3a`."""
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
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    text = data.decode("utf-8", errors="replace")
    return pod_prose(text) if path.suffix == ".pod" else html_prose(text)


def unseen(paragraphs: Iterable[str], seen: set[bytes]) -> list[str]:
    """Those whose digest is not in `seen`, to which it is added; broken encodings are dropped."""
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
    paths = pages(root)
    for path, paragraphs in zip(paths, pool.map(read_page, paths, chunksize=16), strict=True):
        fresh = unseen(paragraphs, seen)
        if sum(map(len, fresh)) >= _SHORTEST_DOCUMENT:
            name = f"{package}/{path.relative_to(root).as_posix()}"
            yield CorpusDocument(name=name, paragraphs=fresh)


def write_corpus(work: Path, out: Path, *, processes: int) -> None:
    """Both text files and the table of packages, out of the packages under `work/deb`."""
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
@click.option("--work", type=click.Path(path_type=Path), required=True, help="Packages go here.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The text goes here.")
@click.option("--processes", default=2, show_default=True, help="Pages read at the same time.")
def main(work: Path, out: Path, processes: int) -> None:
    download(PACKAGES, work / "deb")
    write_corpus(work, out, processes=processes)


if __name__ == "__main__":
    main()
