"""Errors for which the user is to blame, and which the user can mend: a flag, a file, a configuration.

It stands in the lowest package, so that every command raises the same class.
"""

from __future__ import annotations

import click


class UserMistake(click.ClickException, ValueError):
    """One line that names what is wrong and what to do. Ends a command with exit code 2 and no traceback.

    It is a `ValueError` too, because configurations check their own ranges with one.
    """

    exit_code = 2
