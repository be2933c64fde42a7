"""The error for mistakes that the user made and can correct: a flag, a file, a configuration.

It is defined in the lowest package, so that every command can raise the same class.
"""

from __future__ import annotations

import click


class UserMistake(click.ClickException, ValueError):
    """A mistake of the user: one line that names it and what to do. Ends a command with exit code 2, no traceback.

    It is a `ValueError` too, because configurations raise `ValueError` for values out of range.
    """

    exit_code = 2
