"""The three data sets of Wagner, Fan and Jaggi (2024), approximated with freely licensed text.

    python benchmarks/corpora.py --list               which files the tables of sim/FINDINGS.md used, from where
    python benchmarks/corpora.py --fetch FOLDER       download those that are published as they are
    python benchmarks/corpora.py --fetch FOLDER --mirror URL    ... and the others from a copy of such a folder
    python benchmarks/corpora.py --check FOLDER       which of them FOLDER holds, by their SHA-256
    python benchmarks/corpora.py --data FOLDER        how much text each part of a data set has
    python benchmarks/corpora.py --data embedded      the same for the text that the package ships

| here       | published  | categories                              | files under FOLDER                 |
| ---------- | ---------- | --------------------------------------- | ---------------------------------- |
| topics     | AG News    | world, sport, business, science         | dolly/train.jsonl                  |
| multi-wiki | Multi-Wiki | de, fr, it                              | multi/{de,fr,it}.txt               |
| codes-wiki | Codes-Wiki | prose (English Wikipedia), java         | codewiki/{wiki_en,java}.txt        |

`--data embedded` takes multi-wiki from `gossipllm/base/text` instead (115 kB a language), for a table without any
download. It is one handbook and its translations, so the figures differ from those in sim/FINDINGS.md. For the other
two sets that text does not suffice: it has no topics, and one English text is too little for base and peers.

Each category is divided into three parts that share no document: for the base model, for the peers, for the reference
set. Four fifths of the base's text are English from another source than any category (Wikipedia; Dolly for
codes-wiki, as GPT-2 had read the web but not Wikipedia), one fifth are equal parts of the categories. A small LoRA
cannot adapt a base that knows nothing of a category, and a base that has read mostly one of them leaves its peers
nothing to gain: of two tiny bases for multi-wiki (1.5 million tokens; LoRA of rank 4, rate 1e-2, 300 steps), the one
with four fifths German went from a perplexity of 74 to 74 on German, the one with four fifths English from 87 to 70.

What is weaker than in the originals:

* topics: questions and answers instead of news, sorted by key words instead of by editors (`topics.py`).
* multi-wiki: a fifth to a tenth of the text, and most of the Italian is translated by machine.
* codes-wiki: the prose is 120 articles in which rare words are `<unk>`; the Java comes from few projects.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from corpus_files import FILES, check, fetch, listing
from topics import documents_by_topic, records

from gossipllm.base import corpus_file
from gossipllm.randomness import permutation
from trust.errors import UserMistake

EMBEDDED: Final = Path("embedded")
"""In place of a folder: the text that the package ships."""

ENGLISH: Final = 2_200_000
"""Characters of general English for the base: as many as there are of Wikipedia."""

ENGLISH_SHARE: Final = 0.8
"""Of the base text."""

REFERENCE_SHARE: Final = 0.1
"""Of the smallest category's text; each category gives as much to the reference set. Guess."""

_BLOCK: Final = 10_000
"""Characters of consecutive lines that stay together, so that few articles are in two parts. Guess."""

_EMBEDDED_BLOCK: Final = 2_000
"""The same for the embedded texts, which have a twentieth of the characters. Guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """The documents of one category, divided into three parts."""

    name: str
    base: list[str]
    peers: list[str]
    reference: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """One data set. `users_low` and `users_high` are the numbers of users it is dealt to with low and with high
    heterogeneity, as published where the text suffices; `train_tokens` is how many training tokens each can have."""

    name: str
    published: str
    users_low: int
    users_high: int
    train_tokens: int
    english: list[str]
    kinds: tuple[Kind, ...]

    @property
    def base(self) -> list[str]:
        return self.english + [document for kind in self.kinds for document in kind.base]

    @property
    def peers(self) -> dict[str, list[str]]:
        """Category's name -> documents, as `gossipllm.text.dealing.partitions.categorised` takes them."""
        return {kind.name: kind.peers for kind in self.kinds}

    def write_reference(self, file: Path) -> None:
        """A text for `ReferenceConfig.source`, with as much of each category."""
        documents = (document for kind in self.kinds for document in kind.reference)
        file.write_text("\n".join(documents) + "\n", encoding="utf-8")


def names(data: Path) -> tuple[str, ...]:
    """The data sets that a folder, or `EMBEDDED`, is for."""
    return tuple(_EMBEDDED_SETS if data == EMBEDDED else _SETS)


def load(data: Path, name: str) -> Corpus:
    """One of `names(data)` from a folder, or from the embedded text where `data` is `EMBEDDED`.

    Raises `UserMistake` where a file is missing, or the embedded text has nothing for this data set.
    """
    if name not in names(data):
        raise UserMistake(f"{data} has no text for {name}; it has {', '.join(names(data))}")
    return divided(name, (_EMBEDDED_SETS if data == EMBEDDED else _SETS)[name], data)


def divided(name: str, source: Source, data: Path) -> Corpus:
    """The text of a source, divided among base, peers and reference set; `name` enters the draw of documents.

    Raises `UserMistake` where a file is missing.
    """
    english = _taken(_shuffled(source.read_english(data), (name, "english")), ENGLISH)
    blocks = source.read(data)
    smallest = min(map(_size, blocks.values()))
    kinds: list[Kind] = []
    for kind, its_blocks in blocks.items():
        left = _shuffled(its_blocks, (name, kind))
        kinds.append(
            Kind(
                name=kind,
                base=_taken(left, _size([english]) * (1 / ENGLISH_SHARE - 1) / len(blocks)),
                reference=_taken(left, REFERENCE_SHARE * smallest),
                peers=[document for block in left for document in block],
            )
        )
    return Corpus(
        name=name,
        published=source.published,
        users_low=source.users_low,
        users_high=source.users_high,
        train_tokens=source.train_tokens,
        english=english,
        kinds=tuple(kinds),
    )


Block = list[str]
"""Documents that go to one part together."""


def _shuffled(blocks: list[Block], parts: tuple[str, str]) -> Iterator[Block]:
    order = permutation("gossipllm/benchmarks/corpora/1", parts, len(blocks))
    return iter([blocks[int(i)] for i in order])


def _taken(blocks: Iterator[Block], characters: float) -> list[str]:
    taken: list[str] = []
    left = characters
    while left > 0 and (block := next(blocks, None)) is not None:
        taken += block
        left -= sum(map(len, block))
    return taken


def _size(blocks: list[Block]) -> int:
    return sum(len(document) for block in blocks for document in block)


def languages(data: Path) -> dict[str, list[Block]]:
    return {name: blocks_of_lines(text_of(data / "multi" / f"{name}.txt")) for name in ("de", "fr", "it")}


def _codes_wiki(data: Path) -> dict[str, list[Block]]:
    return {"prose": wikipedia(data), "java": java(data / "codewiki" / "java.txt")}


def _topics(data: Path) -> dict[str, list[Block]]:
    by_topic = documents_by_topic(text_of(data / "dolly" / "train.jsonl"))
    return {topic: a_block_each(documents) for topic, documents in by_topic.items()}


def dolly(data: Path) -> list[Block]:
    return a_block_each(list(records(text_of(data / "dolly" / "train.jsonl"))))


def java(file: Path) -> list[Block]:
    """A source file is a document."""
    return a_block_each(re.split(r"^// ==== FILE: .*\n", text_of(file), flags=re.MULTILINE))


def wikipedia(data: Path) -> list[Block]:
    text = text_of(data / "codewiki" / "wiki_en.txt")
    return a_block_each(re.split(r"^(?== [^=].* =$)", text, flags=re.MULTILINE))


def a_block_each(documents: Sequence[str]) -> list[Block]:
    return [[document] for document in documents if document.strip()]


def blocks_of_lines(text: str, *, size: int = _BLOCK) -> list[Block]:
    """Consecutive lines of about `size` characters together."""
    blocks: list[Block] = [[]]
    held = 0
    for line in filter(str.strip, text.splitlines()):
        if held >= size:
            blocks.append([])
            held = 0
        blocks[-1].append(line)
        held += len(line)
    return blocks


def text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise UserMistake(f"{file} cannot be read: {error.strerror}; --data must hold it") from None


# -- the embedded text -----------------------------------------------------------------------------------------


def _embedded_english(_data: Path) -> list[Block]:
    return blocks_of_lines(text_of(corpus_file("en")), size=_EMBEDDED_BLOCK)


def _embedded_languages(_data: Path) -> dict[str, list[Block]]:
    return {
        name: blocks_of_lines(text_of(corpus_file(name)), size=_EMBEDDED_BLOCK) for name in ("de", "fr", "it")
    }


# -- the table of data sets ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a data set's general English and its categories are read from; the rest as in `Corpus`."""

    published: str
    users_low: int
    users_high: int
    train_tokens: int
    read_english: Callable[[Path], list[Block]]
    read: Callable[[Path], dict[str, list[Block]]]


_SETS: Final = {
    "topics": Source(
        published="AG News",
        users_low=4,
        users_high=8,
        train_tokens=20_480,
        read_english=wikipedia,
        read=_topics,
    ),
    "multi-wiki": Source(
        published="Multi-Wiki",
        users_low=9,
        users_high=9,
        train_tokens=20_480,
        read_english=wikipedia,
        read=languages,
    ),
    "codes-wiki": Source(
        published="Codes-Wiki",
        users_low=8,
        users_high=8,
        train_tokens=20_480,
        read_english=dolly,
        read=_codes_wiki,
    ),
}

_EMBEDDED_SETS: Final = {
    # Three users of a language need 34,000 of its 40,000 tokens: 8,192 to train on and 3,072 to trust and test with.
    "multi-wiki": Source(
        published="Multi-Wiki, on the embedded text",
        users_low=9,
        users_high=9,
        train_tokens=8_192,
        read_english=_embedded_english,
        read=_embedded_languages,
    ),
}

NAMES: Final = tuple(_SETS)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--data", type=Path, metavar="FOLDER", help='a folder, or "embedded"')
    action.add_argument("--list", action="store_true", help="the files, their sources and licences")
    action.add_argument(
        "--check", type=Path, metavar="FOLDER", help="exit code 1 where a file is not there or differs"
    )
    action.add_argument("--fetch", type=Path, metavar="FOLDER", help="download what can be, and check it")
    parser.add_argument(
        "--mirror", default="", metavar="URL", help="a copy of such a folder: https://... or file:///..."
    )
    options = parser.parse_args()
    if options.mirror and not options.fetch:
        raise UserMistake("--mirror goes with --fetch")
    if options.list:
        print(listing())
    elif options.data:
        print_sizes(options.data)
    else:
        if options.fetch:
            fetch(options.fetch, mirror=options.mirror)
        found = check(options.check or options.fetch)
        for file in FILES:
            print(f"{file.path:<34}{found[file.path]}")
        if set(found.values()) != {"right"}:
            raise SystemExit(1)


def print_sizes(data: Path) -> None:
    print(f"{'characters, thousands':<24}{'base':>8}{'peers':>8}{'reference':>11}{'documents':>11}")
    for name in names(data):
        corpus = load(data, name)
        english = f"{name + ' English':<24}{sum(map(len, corpus.english)) / 1e3:>8,.0f}"
        print(f"{english}{'':>19}{len(corpus.english):>11,}")
        for kind in corpus.kinds:
            parts = (kind.base, kind.peers, kind.reference)
            sizes = [sum(map(len, part)) / 1e3 for part in parts]
            row = f"{name + ' ' + kind.name:<24}{sizes[0]:>8,.0f}{sizes[1]:>8,.0f}{sizes[2]:>11,.0f}"
            print(f"{row}{sum(map(len, parts)):>11,}")


if __name__ == "__main__":
    try:
        main()
    except UserMistake as error:
        raise SystemExit(f"Error: {error}") from None
