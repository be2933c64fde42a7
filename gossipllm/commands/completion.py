"""The command `gossipllm completion`: a script that lets a shell complete commands, options and their values."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import get_completion_class

SHELLS: Final = ("bash", "zsh", "fish")
COMPLETE_VARIABLE: Final = "_GOSSIPLLM_COMPLETE"
"""The variable by which the script asks the program for completions: that which click derives from its name."""


@click.command()
@click.argument("shell", metavar="SHELL", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes a shell complete the names of commands and options. SHELL is bash, zsh or fish.

    \b
    Examples:
      eval "$(gossipllm completion bash)"        # in ~/.bashrc
      eval "$(gossipllm completion zsh)"         # in ~/.zshrc
      gossipllm completion fish > \\
        ~/.config/fish/completions/gossipllm.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None, "click knows these shells"
    program = context.find_root().info_name or "gossipllm"
    click.echo(kind(context.find_root().command, {}, program, COMPLETE_VARIABLE).source())
