"""Dolly's questions and answers sorted into the four topics of AG News, by key words chosen here.

A record counts where at least two key words of one topic occur, and more than twice as many as of any other. Labels
are noisy, and what is on two topics is missing. All of it is in one language and style, so that topics differ little,
as in AG News; four sources instead (reviews, manuals, ...) would have differed as much as languages do.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

import msgspec


def documents_by_topic(jsonl: str) -> dict[str, list[str]]:
    documents: dict[str, list[str]] = {topic: [] for topic in _KEY_WORDS}
    for document in records(jsonl):
        if topic := _topic(document):
            documents[topic].append(document)
    return documents


def records(jsonl: str) -> Iterator[str]:
    """Question, passage and answer of each record; only the first of several on one passage."""
    decoder = msgspec.json.Decoder(_Record)
    passages: set[str] = set()
    for line in filter(None, jsonl.split("\n")):
        record = decoder.decode(line)
        if record.context not in passages:
            yield "\n".join(filter(None, (record.instruction, record.context, record.response)))
        if record.context:
            passages.add(record.context)


class _Record(msgspec.Struct, frozen=True):
    instruction: str
    response: str
    context: str | None = None


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
