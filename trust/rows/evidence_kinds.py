"""The table of kinds of evidence that a learner can measure of a neighbour, and the properties of each kind.

`evidence.py` and the files of `baselines/` compute them; `strategies.py` says which strategy needs
which kind. To add a kind, add an entry here and a case in `gossipllm.learning.merging.distances.distances.measured`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Factor: TypeAlias = Literal["predictions", "weights", "validation"]
"""Kinds of evidence that a product may multiply."""

Evidence: TypeAlias = Literal[
    Factor, "distance", "progress", "parameters", "row-cosines", "perplexity", "logits"
]

Positions: TypeAlias = Literal["all", "last"]
"""The positions of each reference window at which a peer predicts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceKind:
    """Properties of one kind of evidence."""

    about: str
    """What the distance means, in sentences for `trust explain`; `{me}` is the peer that measures."""

    compares_losses: bool = False
    """Whether the distance is a difference of losses on this peer's trust windows. It is then below 0 for a neighbour
    that is better than the peer itself, and the peer's own 0 is a measurement and not a convention."""

    whole_adapters: bool = False
    """Whether the factors of two adapters are compared directly, which requires one form and one rank."""

    positions: Positions | None = None
    """The positions of the reference windows that are compared; None where no reference set is read."""


EVIDENCE: Final[dict[Evidence, EvidenceKind]] = {
    "predictions": EvidenceKind(
        about="Both predicted the next words of the same public text. The distance is the part of their predictions "
        "that differs: 0 is none of it, 1 all of it.",
        positions="all",
    ),
    "weights": EvidenceKind(
        about="The distance says how differently two adapters change the model: 0 is in the same direction, 1 in "
        "unrelated ones, 2 in opposite ones.",
    ),
    "validation": EvidenceKind(
        about="{me} read its own trust text with the neighbour's adapter. The distance is how much worse that went, "
        "in nats per token; below 0 is better than {me} alone.",
        compares_losses=True,
    ),
    "progress": EvidenceKind(
        about="{me} measured how much its loss falls on the way to the neighbour's adapter, for the length of the "
        "way. The more it falls, the more the distance is below 0.",
        compares_losses=True,
    ),
    "distance": EvidenceKind(
        about="The distance is the length of the difference between two adapters' changes of the model, in times the "
        "length of {me}'s own: 0 is none, 2 as far as the opposite of {me}'s own.",
    ),
    # The kinds below are those of Wagner et al. (2024, arXiv 2404.09753) and their code, for reproduction.
    "parameters": EvidenceKind(
        about="The distance is 1 less the cosine of all numbers of the two adapters (paper).",
        whole_adapters=True,
    ),
    "row-cosines": EvidenceKind(
        about="The distance is 1 less the mean cosine of the adapters' rows (code of the paper).",
        whole_adapters=True,
    ),
    "perplexity": EvidenceKind(
        about="The distance is the neighbour's perplexity on newly drawn pieces of {me}'s trust text, less {me}'s own "
        "(code of the paper).",
        compares_losses=True,
    ),
    "logits": EvidenceKind(
        about="The distance sums how far the largest raw scores of the next word are apart, at the end of each piece "
        "of a public text (paper).",
        positions="last",
    ),
}
