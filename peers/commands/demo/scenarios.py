"""The scenarios of the demo: what the peers read, how they are configured, and what to look at in the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from gossipllm.config import EMBEDDED, AdapterConfig, HeadsConfig, LayersConfig
from peers.home.config import MergeConfig, PeerConfig
from trust.rows.config import TrustConfig

DEFAULT: Final = "languages"
"""The scenario of `gossipllm demo` alone."""

Event = Mapping[str, Any]
"""One line of a peer's output, as `peers.run.printing.output` writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The text of a peer: the parts `parts` of an embedded text that is cut into `of`, and the same of those in
    `beside`."""

    language: str
    parts: tuple[int, ...]
    of: int
    beside: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return "mixed" if self.beside else self.language


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoScenario:
    about: str
    """One line for `--help`."""

    readings: tuple[Reading, ...]
    """One for each peer, in the order of the cast."""

    configured: Callable[[PeerConfig, int], PeerConfig]
    """The configuration that all scenarios share, and a peer's number -> its own."""

    column: str = ""
    """Heading of the table's column for `particular`; if empty, there is no such column."""

    particular: Callable[[PeerConfig, Event], str] = lambda _config, _event: ""
    """The text of that column, from the event of a round; the event is empty before the first round."""

    watch: str
    """What to look at in the end, in a sentence."""

    base: str = ""
    """The preset of a random base that the peers pre-train (`gossipllm new-base`). They are then compared with one
    process that reads the text of all of them, in as many steps as all of theirs. If empty, the peers have a model."""


_SIXTHS: Final = tuple(
    Reading(language=language, parts=(part,), of=6) for language in ("fr", "de") for part in (0, 1)
)
"""Two peers for each of two languages, so that each has one peer to learn from and two not to. Each reads a sixth of
its language's text: too little to learn the language from alone, and so little that all of it is soon learned."""

_FRENCH: Final = tuple(Reading(language="fr", parts=(part,), of=6) for part in range(4))

_QUARTERS: Final = tuple(
    Reading(language="fr", parts=(part,), of=4, beside=("de", "it", "en")) for part in range(4)
)

_UNEQUAL: Final = tuple(
    Reading(language="fr", parts=parts, of=8) for parts in ((0,), (1,), (2, 3), (4, 5, 6, 7))
)
_BATCHES: Final = (4, 4, 8, 16)
"""Windows of a batch, in proportion to the parts above, so that all peers read their text equally often."""

_BLOCKS: Final = (1, 2, 1, 2)
_CAPACITIES: Final = (100, 200, 100, 200)
_RANKS: Final = (2, 16, 2, 16)
_MODELS: Final = ("embedded-small", "embedded-small", EMBEDDED, "embedded-1024")
_SIZES: Final = {EMBEDDED: "large", "embedded-small": "small", "embedded-1024": "1024"}


def _tokens(config: PeerConfig, index: int) -> PeerConfig:
    return replace(
        config,
        # A cap of twice the median would hide what is to be seen.
        trust=TrustConfig(strategy="uniform", tokens_power=1.0, tokens_cap=8.0),
        training=replace(config.training, batch_windows=_BATCHES[index]),
    )


def _layers(config: PeerConfig, index: int) -> PeerConfig:
    return replace(config, layers=LayersConfig(count=_BLOCKS[index]))


def _heads(config: PeerConfig, index: int) -> PeerConfig:
    return replace(
        config,
        adapter=AdapterConfig(train="heads"),
        heads=HeadsConfig(copies=2, capacity=_CAPACITIES[index], epoch_rounds=2),
        merge=MergeConfig(rule="mean"),
    )


def _ranks(config: PeerConfig, index: int) -> PeerConfig:
    # At twice the rate rank 16 does better alone than with phones (sim/FINDINGS.md).
    training = replace(config.training, learning_rate=5e-3)
    return replace(config, adapter=AdapterConfig(rank=_RANKS[index]), training=training)


def _sizes(config: PeerConfig, index: int) -> PeerConfig:
    # The default share of a round this short pays for one step of distilling.
    merge = MergeConfig(also="distil", distil_share=1.0)
    return replace(config, model=replace(config.model, name=_MODELS[index]), merge=merge)


def _pretraining(config: PeerConfig, _: int) -> PeerConfig:
    """Each window is read once, so there is nothing to learn by heart, and all rounds are done."""
    return replace(
        config,
        adapter=AdapterConfig(train="all"),
        merge=MergeConfig(rule="mean"),
        network=replace(config.network, packing="tight"),
        settle=replace(config.settle, patience=0),
        training=replace(config.training, batch_windows=4, order="once", weight_decay=0.1),
    )


def _processed(_: PeerConfig, event: Event) -> str:
    return f"{event['tokens']:,}" if event else ""


def _window(config: PeerConfig, event: Event) -> str:
    """Blocks counted from 1."""
    if not event or event["window"] is None:
        return ""
    first, count = event["window"] + 1, config.layers.count
    return f"{first}" if count == 1 else f"{first}-{first + count - 1}"


def _owned(_: PeerConfig, event: Event) -> str:
    return str(event["offered"]) if event else ""


def _rank(config: PeerConfig, _: Event) -> str:
    return str(config.adapter.rank)


def _size(config: PeerConfig, _: Event) -> str:
    return _SIZES[config.model.name]


SCENARIOS: Final[dict[str, DemoScenario]] = {
    "languages": DemoScenario(
        about="two read French and two German; who learns from whom?",
        readings=_SIXTHS,
        configured=lambda config, _: config,
        watch="The trust matrix: do peers of one language find each other without being told?",
    ),
    "tokens": DemoScenario(
        about="unequal amounts of text: who trained on more tokens counts more",
        readings=_UNEQUAL,
        configured=_tokens,
        column="tokens",
        particular=_processed,
        watch="The trust matrix: every row weighs peers by their tokens, about 1 : 1 : 2 : 4. Is the gain larger for "
        "peers with less text?",
    ),
    "layers": DemoScenario(
        about="each peer trains only one or two of four blocks at a time",
        readings=_SIXTHS,
        configured=_layers,
        column="blocks",
        particular=_window,
        watch='The bytes sent, against those of "languages": each sends only the blocks that it trained. Alone, a peer '
        "trains its windows in turn; together, it learns from others what it did not train.",
    ),
    "heads": DemoScenario(
        about="the attention heads are dealt out, each to two peers, by capacity",
        readings=_FRENCH,
        configured=_heads,
        column="heads",
        particular=_owned,
        watch="The heads that each owned, twice as many at twice the capacity, and the bytes sent. Alone, a peer "
        "trains all of them: what is lost against that is the price of a third to two thirds of the work.",
    ),
    "ranks": DemoScenario(
        about="phones of rank 2 and desktops of rank 16 learn from each other",
        readings=_FRENCH,
        configured=_ranks,
        column="rank",
        particular=_rank,
        watch="The gains by rank: what rank 2 has of rank 16, and whether rank 16 loses by listening to rank 2.",
    ),
    "sizes": DemoScenario(
        about="unequal models: two phones, a laptop, and another tokenizer",
        readings=_FRENCH,
        configured=_sizes,
        column="model",
        particular=_size,
        watch="What each pair does, and the gains by model. Only the phones hold the same model and mix adapters; the "
        "others meet through predictions on the public text. Distilling takes up to as long again as the local steps; "
        '"gossipllm sim sizes" holds it against as many steps toward the peer\'s own predictions.',
    ),
    "pretrain": DemoScenario(
        about="from a random model: four pre-train it on parts of a text",
        readings=_QUARTERS,
        configured=_pretraining,
        column="tokens",
        particular=_processed,
        watch="The losses by round: they fall from that of a model that knows nothing. How near do peers come to one "
        "process that has all the text and takes as many steps as all of them?",
        base="tiny",
    ),
}
"""Name -> scenario, the default first."""
