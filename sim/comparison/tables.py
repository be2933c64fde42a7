"""Tables of a comparison, for terminals of 80 columns or more and in markdown.

Where peers are of several kinds, another table shows what each kind gains by each method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import UnsetType
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sim.comparison.bits import bits_heads, bits_rows
from sim.comparison.spread import Spread
from sim.comparison.summary import BASELINES, Comparison, DeviceSummary, MethodSummary

_WIDE: Final = 100
"""Columns of a terminal that show all columns of the tables."""
_NONE: Final = "-"

_MEANING: Final = {
    "before, after": "perplexity on own test text around the last merge, mean over peers",
    "±": "standard deviation over seeds",
    "vs": "difference on the same seed (theory: theoretical), below 0 is better",
    "worst": "the peer that fares worst against training alone",
    "KL": "divergence of the row from the theoretical one, in nats",
    "rank": "Spearman's correlation of the two, itself left out",
    "same": "weight on peers with text of the same category",
    "peers": "1 / sum of squared weights, itself counted",
    "kB": "sent for a peer and a round",
    "forward, backward": "thousands of tokens through the model, for a peer and a round",
}
_BEST: Final = {
    "best": "perplexity at each peer's best round, chosen by its own trust split",
    "rounds": "done until then, mean over peers",
    "k tokens, kB, time": "of a peer until the mean is as good as the best of local",
}
_KINDS: Final = {
    "pooled": "perplexity over the text of all peers together, more text counting more",
    "(...)": "difference from training alone on the same seed",
}
_ENERGY: Final = {"J": "virtual: declared watts x working time, for a peer and a round"}
_SECONDS: Final = {"s": "seconds of a run by the wall clock"}


def print_comparison(shown: Comparison, seconds: Mapping[str, float], console: Console) -> None:
    """Print the tables and the meaning of their columns. 80 columns hold all but "before", which the curves show."""
    wide = console.width >= _WIDE
    heads, perplexities = _perplexity_heads(), _perplexity_rows(shown)
    if not wide:
        heads, perplexities = _without(heads, perplexities, "before")
        perplexities = [tuple(map(_closer, row)) for row in perplexities]
    console.print(_table("perplexity", heads, perplexities, wide=wide))
    if best := _best_rows(shown):
        console.print()
        console.print(_table("at the best round", _BEST_HEADS, best, wide=wide))
    console.print()
    console.print(_table("trust and cost", _trust_heads(shown), _trust_rows(shown, seconds), wide=wide))
    if kinds := _kind_heads(shown):
        console.print()
        console.print(_table("by kind of peer", kinds, _kind_rows(shown, kinds), wide=wide))
    for row in filter(lambda row: row.bits, shown.methods):
        console.print()
        console.print(
            _table(f"bits a byte, {row.method}", bits_heads(row.bits), bits_rows(row.bits), wide=wide)
        )
    legend = Table.grid(padding=(0, 2, 0, 0))
    for term, meaning in (_meaning(shown) | _SECONDS).items():
        legend.add_row(Text(term, style="dim"), Text(meaning, style="dim"))
    console.print(legend)
    unfinished = [row.method for row in shown.methods if not row.finished]
    if unfinished:
        console.print(
            Text(
                f"a peer stopped, or limit_s came, before all rounds were done: {', '.join(unfinished)}; "
                f"events.jsonl.gz says why",
                style="yellow",
            )
        )


def markdown(shown: Comparison) -> str:
    """The tables and the meaning of their columns. Without times, so that equal runs give equal files."""
    seeds = ", ".join(map(str, shown.seeds))
    base = "" if shown.base is None else f" Untrained, the perplexity is {shown.base:.1f}."
    parts = [
        f"# {shown.scenario}",
        f"{shown.peers} peers, {shown.rounds} rounds, seeds {seeds}.{base}",
        _markdown_table(_perplexity_heads(), _perplexity_rows(shown)),
        *([_markdown_table(_BEST_HEADS, best)] if (best := _best_rows(shown)) else []),
        _markdown_table(_trust_heads(shown)[:-1], [row[:-1] for row in _trust_rows(shown, {})]),
        *([_markdown_table(kinds, _kind_rows(shown, kinds))] if (kinds := _kind_heads(shown)) else []),
        *(
            f"Bits a byte, {row.method}:\n\n{_markdown_table(bits_heads(row.bits), bits_rows(row.bits))}"
            for row in shown.methods
            if row.bits
        ),
        "\n".join(f"* {term}: {meaning}" for term, meaning in _meaning(shown).items()),
        "\n".join(f"* **{row.method}**: {row.about}" for row in shown.methods),
    ]
    return "\n\n".join(parts) + "\n"


_BEST_HEADS: Final = ("method", "best", "vs local", "rounds", "k tokens", "kB", "time")
_TRUST_HEADS: Final = ("method", "KL", "rank", "same", "peers", "kB", "forward", "backward", "s")


def _perplexity_heads() -> tuple[str, ...]:
    return ("method", "before", "after", "vs local", "vs fedavg", "vs theory", "worst")


def _perplexity_rows(shown: Comparison) -> list[tuple[Text, ...]]:
    return [
        (
            Text(row.method, style="bold"),
            Text(_number(row.before).split(" ")[0]),
            _plain(row.after),
            *(_difference(row.against.get(name)) for name in BASELINES),
            _difference(row.worst),
        )
        for row in shown.methods
    ]


def _best_rows(shown: Comparison) -> list[tuple[Text, ...]]:
    """A row for each method at its peers' best states; empty where none are known."""
    return [
        (
            Text(row.method, style="bold"),
            _plain(best.perplexity),
            _difference(best.against_local),
            Text(f"{best.rounds.mean:.1f}"),
            *(
                (Text(_NONE),) * 3
                if best.target is None
                else (
                    Text(f"{best.target.tokens / 1e3:,.1f}"),
                    Text(f"{best.target.sent / 1e3:,.0f}"),
                    Text(f"{best.target.seconds:,.0f} s"),
                )
            ),
        )
        for row in shown.methods
        if (best := row.at_best) is not None
    ]


def _trust_rows(shown: Comparison, seconds: Mapping[str, float]) -> list[tuple[Text, ...]]:
    energy = _counts_energy(shown)
    return [_trust_row(row, seconds.get(row.method), energy=energy) for row in shown.methods]


def _trust_heads(shown: Comparison) -> tuple[str, ...]:
    return (*_TRUST_HEADS[:-1], *(("J",) if _counts_energy(shown) else ()), _TRUST_HEADS[-1])


def _counts_energy(shown: Comparison) -> bool:
    return any(not isinstance(row.joules, UnsetType) for row in shown.methods)


def _trust_row(row: MethodSummary, seconds: float | None, *, energy: bool) -> tuple[Text, ...]:
    joules = _NONE if isinstance(row.joules, UnsetType) else f"{row.joules:,.0f}"
    cells = (
        f"{row.divergence.mean:.2f}",
        _NONE if row.correlation is None else f"{row.correlation.mean:.2f}",
        f"{row.same.mean:.2f}",
        f"{row.effective.mean:.1f}",
        f"{row.sent_bytes / 1e3:,.1f}",
        f"{row.forward_tokens / 1e3:,.1f}",
        f"{row.backward_tokens / 1e3:,.1f}",
        *([joules] if energy else []),
        _NONE if seconds is None else f"{seconds:,.0f}",
    )
    return (Text(row.method, style="bold"), *map(Text, cells))


def _meaning(shown: Comparison) -> dict[str, str]:
    best = _BEST if any(row.at_best is not None for row in shown.methods) else {}
    energy = _ENERGY if _counts_energy(shown) else {}
    return _MEANING | energy | best | (_KINDS if _kind_heads(shown) else {})


def _kind_heads(shown: Comparison) -> tuple[str, ...]:
    """Column heads of the table by kind of peer; empty where all peers are alike."""
    kinds = list(dict.fromkeys(kind for row in shown.methods for kind in row.devices))
    return ("method", *kinds, "pooled") if kinds else ()


def _kind_rows(shown: Comparison, heads: Sequence[str]) -> list[tuple[Text, ...]]:
    return [
        (
            Text(row.method, style="bold"),
            *(_kind(row.devices.get(kind)) for kind in heads[1:-1]),
            Text(_number(row.pooled).split(" ")[0]),
        )
        for row in shown.methods
    ]


def _kind(value: DeviceSummary | None) -> Text:
    """The mean, and in brackets the coloured difference from training alone."""
    if value is None:
        return Text(_NONE, style="dim")
    text = Text(_number(value.after).split(" ")[0])
    if value.against_local is not None:
        difference = _difference(value.against_local)
        text.append(f" ({difference.plain.split(' ')[0]})", style=difference.style)
    return text


def _plain(value: Spread) -> Text:
    return Text(_number(value))


def _difference(value: Spread | None) -> Text:
    """A difference, green where it is more than two standard deviations below 0, red where as far above."""
    if value is None:
        return Text(_NONE, style="dim")
    sure = value.std is not None and abs(value.mean) > 2 * value.std
    return Text(_number(value, sign="+"), style=("green" if value.mean < 0 else "red") if sure else "")


def _number(value: Spread, *, sign: str = "") -> str:
    """The mean with about four digits, and the deviation to the same decimal place."""
    places = 2 if abs(value.mean) < 100 else 1
    deviation = "" if value.std is None else f" ±{value.std:.{places}f}"
    return f"{value.mean:{sign},.{places}f}{deviation}"


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[Text]], *, wide: bool) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 2 if wide else 0, 0, 0),
        pad_edge=False,
    )
    for head in heads:
        table.add_column(head, justify="left" if head == "method" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _without(
    heads: Sequence[str], rows: Sequence[Sequence[Text]], head: str
) -> tuple[tuple[str, ...], list[tuple[Text, ...]]]:
    place = heads.index(head)
    return (*heads[:place], *heads[place + 1 :]), [(*row[:place], *row[place + 1 :]) for row in rows]


def _closer(cell: Text) -> Text:
    return Text(cell.plain.replace(" ±", "±"), style=cell.style)


def _markdown_table(heads: Sequence[str], rows: Sequence[Sequence[Text]]) -> str:
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *([cell.plain for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
