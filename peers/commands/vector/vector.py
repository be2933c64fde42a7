"""The group of commands on task vectors."""

from __future__ import annotations

from typing import Final

import click

from trust.lazy import LazyGroup

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "combine": (
        "peers.commands.vector.combine:combine",
        "Add vectors with weights: sums, analogies, TIES, DARE.",
    ),
    "negate": ("peers.commands.vector.negate:negate", "Turn a vector round, to forget what it learned."),
    "compare": ("peers.commands.vector.compare:compare", "How large vectors are, and how alike."),
    "apply": ("peers.commands.vector.apply:apply", "Add a vector to its base, as a whole model."),
    "project": ("peers.commands.vector.project:project", "Carry vectors over to a larger model."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def vector() -> None:
    """Add, subtract and compare what adapters have learned.

    A task vector is what training added to a base: the adapter in a PEFT folder, or the best state of a peer's
    home. Vectors of one base can be added: to join two skills, to forget one, or to carry a difference over.
    """
