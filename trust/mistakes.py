"""What a person got wrong, in one line: the command ends with it and exit code 2."""

from __future__ import annotations

import click


class UsersMistake(click.ClickException):
    """Names what is wrong and what to do."""

    exit_code = 2
