"""What a user can mend: a flag, a file, a configuration. No torch, so that the command line can import it."""

from __future__ import annotations


class UserMistake(ValueError):
    """One line that names what is wrong and what to do. Ends the command with exit code 2, no traceback."""
