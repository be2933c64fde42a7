"""The root of the command line: a table of commands, each imported only when it is called.

Each package owns its commands. The table holds strings, so that nothing here imports them (`trust.lazy`).
"""

from __future__ import annotations

import contextlib
import errno
import signal
import sys
import threading
from functools import partial
from typing import Final

import click

from gossipllm import __version__
from gossipllm.deferred_imports import defer
from trust.files import DISK_ERRORS
from trust.lazy import LazyGroup
from trust.streams import flushed

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "demo": (
        "peers.commands.demo.command:demo",
        "Four real peers on this machine, from nothing to a trust matrix.",
    ),
    "new-base": (
        "gossipllm.commands.new_base:new_base",
        "Make a random model for peers to pre-train together.",
    ),
    "init": ("peers.commands.init:init", "Make a home folder for a peer on this device."),
    "config": ("peers.commands.config:config", "Show the settings of a peer, or explain one."),
    "plan": ("peers.commands.plan.command:plan", "Measure this device, and propose how its peer trains."),
    "run": ("peers.commands.run:run", "Run the peer of a home folder: train, gossip, merge."),
    "trust": ("trust.cli:trust", "Who learns from whom, and how much."),
    "sim": ("sim.cli:sim", "Many peers on this machine, in virtual time: compare methods."),
    "data": ("gossipllm.commands.data:data", "Look at text before training on it."),
    "report": ("sim.reporting.command:report", "One page of everything about a run, to open in a browser."),
    "eval": (
        "peers.commands.eval:evaluate",
        "Measure a model on tasks, and beside it what peers have learned.",
    ),
    "chat": ("peers.commands.chat.command:chat", "Talk with what a peer has learned, or with its base."),
    "export": ("peers.commands.export:export", "Write what a peer learned as a PEFT adapter."),
    "vector": (
        "peers.commands.vector.vector:vector",
        "Add, subtract and compare what adapters have learned.",
    ),
    "doctor": (
        "peers.commands.doctor.command:doctor",
        "Check this device: Python, torch, disk, clock, ports, network.",
    ),
    "completion": (
        "gossipllm.commands.completion:completion",
        "Print what makes bash, zsh or fish complete commands.",
    ),
}
"""Command -> (module:attribute, the line that `gossipllm --help` shows)."""


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: gossipllm demo",
)
@click.version_option(__version__, prog_name="gossipllm")
def root() -> None:
    """Devices fine-tune a language model on their own text and learn from each other, with no server.

    Each peer trains a small adapter on text that never leaves it, exchanges adapters and predictions with its
    neighbours, and computes by itself how much to take from whom: its row of the trust matrix.
    """


_OUTPUT_ERRORS: Final = frozenset({*DISK_ERRORS, errno.EBADF, errno.EFBIG, errno.EPIPE})
_INTERRUPT_AGAIN_S: Final = 0.01
"""Time in which a finaliser is over, mostly; else the interrupt comes once more."""
INTERRUPTED: Final = 130
"""The exit code that shells give a program ended by Ctrl-C."""


def main() -> None:
    """The program. A user's mistake ends it with one line on standard error and exit code 2, output that cannot be
    written with one line and 1."""
    defer()
    sys.unraisablehook = partial(_not_raised, again=True)
    code = _performed()
    sys.unraisablehook = partial(_not_raised, again=False)
    unwritten = flushed(sys.stdout)
    if unwritten is not None:
        code = code or 1
        if unwritten:
            _say(f"Error: the output cannot be written: {unwritten}")
    flushed(sys.stderr)
    sys.exit(code)


def _not_raised(found: sys.UnraisableHookArgs, *, again: bool) -> None:
    """What happens to an exception where Python cannot raise it, as in a finaliser. An interrupt comes `again` a moment
    later, or is over where the program is; it says nothing."""
    if not issubclass(found.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(found)
    elif again:
        later = threading.Timer(_INTERRUPT_AGAIN_S, _interrupt, (threading.main_thread(),))
        later.daemon = True
        later.start()


def _interrupt(thread: threading.Thread) -> None:
    """Interrupt the main thread, also where it waits."""
    if thread.ident is not None:
        signal.pthread_kill(thread.ident, signal.SIGINT)


def _performed() -> int:
    """Run the command that the arguments name. Returns the exit code."""
    try:
        # Not standalone: click would turn Ctrl-C into exit code 1, as if something had failed.
        # What `Context.exit` is given comes back as the value.
        code: object = root.main(prog_name="gossipllm", standalone_mode=False)
    except click.ClickException as error:
        with contextlib.suppress(OSError):
            error.show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except OSError as error:
        return _disk_or_output(error)
    return code if isinstance(code, int) else 0


def _disk_or_output(error: OSError) -> int:
    """The exit code for an error of the system that no command answered, after a line about it.

    Commands name the files that they write. So an error of a disk without a name comes from the output."""
    flushed(sys.stdout)
    if error.filename is not None:
        _say(f"Error: {error.filename}: {error.strerror}")
        return 2
    what = "the output cannot be written: " if error.errno in _OUTPUT_ERRORS else ""
    _say(f"Error: {what}{error.strerror or error}")
    return 1


def _say(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        click.echo(line, err=True)


if __name__ == "__main__":
    main()
