"""Fetching the benchmarks' text from a server on loopback, and checking it by its SHA-256."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.benchmark_scripts import load
from trust.errors import UserMistake

corpus_files = load("corpus_files")

TEXTS = {"wiki/de.txt": b"Ein Satz.\n", "wiki/fr.txt": b"Une phrase.\n"}


def file_of(path: str, **changed: Any) -> Any:
    text = TEXTS[path]
    known = {
        "path": path,
        "size": len(text),
        "sha256": sha256(text).hexdigest(),
        "source": "a source",
        "licence": "CC0",
        "used_by": "nothing",
    }
    return corpus_files.CorpusFile(**(known | changed))


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the name it has there)
        pass


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[str]:
    """The address of a server that has both files."""
    folder = tmp_path / "published"
    for path, text in TEXTS.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def fetched(folder: Path, files: list[Any], mirror: str = "") -> list[str]:
    said: list[str] = []
    corpus_files.fetch(folder, mirror=mirror, files=files, told=said.append)
    return said


def test_files_come_from_a_mirror_and_are_right(tmp_path: Path, mirror: str) -> None:
    files = [file_of(path) for path in TEXTS]
    assert set(corpus_files.check(tmp_path, files).values()) == {"missing"}

    said = fetched(tmp_path, files, mirror)

    assert [line.partition(" (")[0] for line in said] == [f"{path}: fetched" for path in TEXTS]
    assert set(corpus_files.check(tmp_path, files).values()) == {"right"}
    assert {path: (tmp_path / path).read_bytes() for path in TEXTS} == TEXTS


def test_what_is_right_already_is_not_fetched_again(tmp_path: Path, mirror: str) -> None:
    files = [file_of(path) for path in TEXTS]
    fetched(tmp_path, files, mirror)

    assert fetched(tmp_path, files, "http://127.0.0.1:9") == []


def test_a_file_of_the_right_size_with_other_bytes_differs_and_is_fetched_again(
    tmp_path: Path, mirror: str
) -> None:
    place, file = tmp_path / "wiki/de.txt", file_of("wiki/de.txt")
    place.parent.mkdir()
    place.write_bytes(bytes(len(TEXTS["wiki/de.txt"])))
    assert corpus_files.check(tmp_path, [file]) == {"wiki/de.txt": "differs"}

    fetched(tmp_path, [file], mirror)

    assert place.read_bytes() == TEXTS["wiki/de.txt"]


def test_a_file_is_fetched_from_where_it_is_published(tmp_path: Path, mirror: str) -> None:
    fetched(tmp_path, [file_of("wiki/de.txt", url=f"{mirror}/wiki/de.txt")])

    assert (tmp_path / "wiki/de.txt").read_bytes() == TEXTS["wiki/de.txt"]


def test_a_file_that_is_published_nowhere_says_its_source(tmp_path: Path) -> None:
    (line,) = fetched(tmp_path, [file_of("wiki/de.txt")])

    assert line == "wiki/de.txt: published nowhere in this form; needs --mirror. Source: a source"


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"size": 3}])
def test_other_bytes_are_not_put_in_place(tmp_path: Path, mirror: str, change: dict[str, Any]) -> None:
    place = tmp_path / "wiki/de.txt"
    place.parent.mkdir()
    place.write_bytes(b"what was there")
    wrong = file_of("wiki/de.txt", **({"sha256": "0" * 64} | change))

    (line,) = fetched(tmp_path, [wrong], mirror)

    assert "not taken, its SHA-256 differs" in line
    assert place.read_bytes() == b"what was there"
    assert corpus_files.check(tmp_path, [wrong]) == {"wiki/de.txt": "differs"}
    assert [file.name for file in place.parent.iterdir()] == ["de.txt"], "nothing half fetched remains"


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "file:///nowhere"])
def test_a_mirror_that_does_not_answer_is_said(tmp_path: Path, address: str) -> None:
    (line,) = fetched(tmp_path, [file_of("wiki/de.txt")], address)

    assert line.startswith("wiki/de.txt: not fetched, ")
    assert not (tmp_path / "wiki/de.txt").exists()


def test_a_missing_page_is_said(tmp_path: Path, mirror: str) -> None:
    (line,) = fetched(tmp_path, [file_of("wiki/de.txt", url=f"{mirror}/nothing")])

    assert "not fetched, Not Found" in line or "404" in line or "File not found" in line


def test_a_mirror_must_be_an_address(tmp_path: Path) -> None:
    with pytest.raises(UserMistake, match="does not begin with https://"):
        corpus_files.fetch(tmp_path, mirror="/some/folder")


def test_every_file_of_the_tables_says_all_about_itself() -> None:
    listing: str = corpus_files.listing()

    for file in corpus_files.FILES:
        assert len(file.sha256) == 64
        assert file.sha256 in listing
        assert file.licence in listing
