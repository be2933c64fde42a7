"""The command `gossipllm data`, which looks at text before training. Its commands load a tokenizer but no model."""

from __future__ import annotations

from typing import Final

import click

from trust.lazy import LazyGroup

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "show": (
        "gossipllm.commands.data_show:show",
        "What is read of a text, and examples as the model sees them.",
    ),
    "overlap": (
        "gossipllm.commands.data_overlap:overlap",
        "How far texts overlap in their tokens: the Jaccard index.",
    ),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def data() -> None:
    """Look at text before training on it."""
