"""The three data sets of Wagner, Fan and Jaggi (2024), as near as a folder of freely licensed text comes.

    python benchmarks/corpora.py --data FOLDER        how much text there is of what, and for whom

| here       | published  | categories                              | files under FOLDER                 |
| ---------- | ---------- | --------------------------------------- | ---------------------------------- |
| topics     | AG News    | world, sport, business, science         | dolly/train.jsonl                  |
| multi-wiki | Multi-Wiki | de, fr, it                              | multi/{de,fr,it}.txt               |
| codes-wiki | Codes-Wiki | prose (English Wikipedia), java         | codewiki/{wiki_en,java}.txt        |

Each category falls into three parts that share no document: for the base model, for the peers, for the reference
set. The base reads four fifths English of another source than any category (Wikipedia; Dolly for codes-wiki, as
GPT-2 had read the web but not Wikipedia) and one fifth of the categories, each as much. A base that knew nothing of
a category could not be adapted by a small LoRA; one that has read mostly one of them leaves its peers nothing to
gain: of two tiny bases for multi-wiki (1.5 million tokens; LoRA of rank 4, rate 1e-2, 300 steps), the one with four
fifths German went from a perplexity of 74 to 74 on German, the one with four fifths English from 87 to 70.

What is weaker than the originals:

* topics: questions and answers (Dolly 15k), not news, and sorted by key words of ours rather than by editors. A
  record counts where at least two key words of one topic occur, and more than twice as many as of any other.
  Labels are noisy, and what is on two topics is missing. It stays one language and one style, so that
  topics differ little, as in AG News; taking four sources instead (reviews, manuals, ...) would have made them
  as unlike as languages.
* multi-wiki: a fifth to a tenth of the text, and most of the Italian is translated by machine.
* codes-wiki: the prose is 120 articles in which rare words are `<unk>`; the Java comes from few projects.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from gossipllm.randomness import permutation
from trust.errors import UserMistake

ENGLISH: Final = 2_200_000
"""Characters of general English for the base: as many as there are of Wikipedia."""

ENGLISH_SHARE: Final = 0.8
"""Of the base text."""

REFERENCE_SHARE: Final = 0.1
"""Of the smallest category's text; each category gives as much to the reference set. Guess."""

_BLOCK: Final = 10_000
"""Characters of consecutive lines that stay together, so that few articles are in two parts. Guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """The documents of one category, in three parts."""

    name: str
    base: list[str]
    peers: list[str]
    reference: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """One data set. `users_low`, `users_high`: how many users the published experiments dealt it to."""

    name: str
    published: str
    users_low: int
    users_high: int
    english: list[str]
    kinds: tuple[Kind, ...]

    @property
    def base(self) -> list[str]:
        return self.english + [document for kind in self.kinds for document in kind.base]

    @property
    def peers(self) -> dict[str, list[str]]:
        """Category's name -> documents, as `gossipllm.text.partitions.categorised` takes them."""
        return {kind.name: kind.peers for kind in self.kinds}

    def write_reference(self, file: Path) -> None:
        """A text for `ReferenceConfig.source`, with as much of each category."""
        documents = (document for kind in self.kinds for document in kind.reference)
        file.write_text("\n".join(documents) + "\n", encoding="utf-8")


def load(data: Path, name: str) -> Corpus:
    """One of `NAMES`. Raises `UserMistake` where a file is missing."""
    published, low, high, read_english, read = _SETS[name]
    english = _taken(_shuffled(read_english(data), (name, "english")), ENGLISH)
    blocks = read(data)
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
        name=name, published=published, users_low=low, users_high=high, english=english, kinds=tuple(kinds)
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


def _multi_wiki(data: Path) -> dict[str, list[Block]]:
    return {name: _blocks_of_lines(_text(data / "multi" / f"{name}.txt")) for name in ("de", "fr", "it")}


def _codes_wiki(data: Path) -> dict[str, list[Block]]:
    java = re.split(r"^// ==== FILE: .*\n", _text(data / "codewiki" / "java.txt"), flags=re.MULTILINE)
    return {"prose": _wikipedia(data), "java": _a_block_each(java)}


def _wikipedia(data: Path) -> list[Block]:
    text = _text(data / "codewiki" / "wiki_en.txt")
    return _a_block_each(re.split(r"^(?== [^=].* =$)", text, flags=re.MULTILINE))


def _a_block_each(documents: Sequence[str]) -> list[Block]:
    return [[document] for document in documents if document.strip()]


def _blocks_of_lines(text: str) -> list[Block]:
    blocks: list[Block] = [[]]
    size = 0
    for line in filter(str.strip, text.splitlines()):
        if size >= _BLOCK:
            blocks.append([])
            size = 0
        blocks[-1].append(line)
        size += len(line)
    return blocks


class _Record(msgspec.Struct, frozen=True):
    instruction: str
    response: str
    context: str | None = None


def _topics(data: Path) -> dict[str, list[Block]]:
    blocks: dict[str, list[Block]] = {topic: [] for topic in _KEY_WORDS}
    for document in _dolly(data):
        if topic := _topic(document):
            blocks[topic].append([document])
    return blocks


def _dolly(data: Path) -> Iterator[str]:
    """Question, passage and answer of each record; only the first of several on one passage."""
    decoder = msgspec.json.Decoder(_Record)
    passages: set[str] = set()
    for line in filter(None, _text(data / "dolly" / "train.jsonl").split("\n")):
        record = decoder.decode(line)
        if record.context not in passages:
            yield "\n".join(filter(None, (record.instruction, record.context, record.response)))
        if record.context:
            passages.add(record.context)


def _topic(text: str) -> str | None:
    hits = Counter(_TOPIC_OF[word] for word in re.findall("[a-z]+", text.lower()) if word in _TOPIC_OF)
    (topic, most), (_, next_most) = [*hits.most_common(2), ("", 0), ("", 0)][:2]
    return topic if most >= 2 and most > 2 * next_most else None


_KEY_WORDS: Final = {
    "world": """ambassador army battle colonial congress constitution democracy diplomat dynasty elected election
        emperor empire government independence invasion king kingdom military minister monarchy parliament party
        political president queen rebellion republic revolution senate soldiers throne treaty troops war wars""",
    "sport": """athlete athletes baseball basketball championship championships club coach cricket cup fifa
        football game games goal goals golf hockey league match matches medal nba nfl olympic olympics player
        players race racing rugby season soccer sport sports stadium team teams tennis tournament win wins""",
    "business": """bank banks brand budget business companies company corporation credit customer customers
        economic economy employees finance financial firm income industry insurance investment investors loan
        management market marketing markets money price prices product products profit retail revenue sales
        shares stock stocks tax taxes trade""",
    "science": """algorithm animals atom atoms bacteria biology cell cells chemical chemistry computer data
        disease dna earth electron energy engineering galaxy gene learning light machine mathematical mathematics
        molecule neural physics planet planets plants programming protein quantum science sciences scientific
        scientists software species star stars sun system systems technology temperature theory water""",
}
_TOPIC_OF: Final = {word: topic for topic, listed in _KEY_WORDS.items() for word in listed.split()}


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise UserMistake(f"{file} cannot be read: {error.strerror}; --data must hold it") from None


_SETS: Final[
    dict[str, tuple[str, int, int, Callable[[Path], list[Block]], Callable[[Path], dict[str, list[Block]]]]]
] = {
    "topics": ("AG News", 4, 8, _wikipedia, _topics),
    "multi-wiki": ("Multi-Wiki", 9, 9, _wikipedia, _multi_wiki),
    "codes-wiki": ("Codes-Wiki", 8, 8, lambda data: _a_block_each(list(_dolly(data))), _codes_wiki),
}
"""Name -> published name, users in the low and in the high setting, readers of English and of the categories."""

NAMES: Final = tuple(_SETS)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    print(f"{'characters, thousands':<24}{'base':>8}{'peers':>8}{'reference':>11}{'documents':>11}")
    for name in NAMES:
        corpus = load(options.data, name)
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
    except UserMistake as mistake:
        raise SystemExit(f"Error: {mistake}") from None
