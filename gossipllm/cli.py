"""The root of the command line: a table of names, each imported only when it is called.

So `gossipllm --help` answers at once, no command loads what another needs, and every package owns its own
commands without this one knowing them (imports point downwards; the table holds strings).
"""

from __future__ import annotations

import importlib
import sys
from typing import Final

import click

from gossipllm import __version__
from gossipllm.mistakes import UserMistake

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "demo": ("peers.demo.command:demo", "Four real peers on this machine, from nothing to a trust matrix."),
    "init": ("peers.cli:init", "Make a home folder for a peer on this device."),
    "run": ("peers.cli:run", "Run the peer of a home folder: train, gossip, merge."),
    "trust": ("trust.cli:trust", "Who learns from whom, and how much."),
    "sim": ("sim.cli:sim", "Many peers on this machine, in virtual time: compare methods."),
    "data": ("gossipllm.text.cli:data", "Look at text before training on it."),
    "eval": ("peers.evaluating:evaluate", "Measure a model on tasks, and beside it what peers have learned."),
    "export": ("peers.cli:export", "Write what a peer learned as a PEFT adapter."),
}
"""Command -> (module:attribute, the line that `gossipllm --help` shows)."""


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command), f"{cmd_name} names a command"
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: gossipllm demo",
)
@click.version_option(__version__, prog_name="gossipllm")
def root() -> None:
    """Devices fine-tune a language model on their own text and learn from each other, with no server.

    Each peer trains a small adapter on text that never leaves it, exchanges adapters and predictions with its
    neighbours, and computes by itself how much to take from whom: its row of the trust matrix.
    """


INTERRUPTED: Final = 130
"""The exit code that shells give a program ended by Ctrl-C."""


def main() -> None:
    """The program. A user's mistake ends it with one line on standard error and exit code 2."""
    try:
        # Not standalone: click would turn Ctrl-C into exit code 1, as if something had failed.
        sys.exit(root.main(standalone_mode=False))
    except click.ClickException as mistake:
        mistake.show()
        sys.exit(mistake.exit_code)
    except UserMistake as mistake:
        click.echo(f"Error: {mistake}", err=True)
        sys.exit(2)
    except click.Abort:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
