"""Marks of answers in chat templates: `{% generation %}` and `{% endgeneration %}`.

The places of the answers in the text are found by letting the template write a sign at each mark. The library tells
them too, but only for tokens, or through functions that are not its interface.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final, TypeAlias

Span: TypeAlias = tuple[int, int]
"""`(start, end)` in characters of a text."""

_MARK_START: Final = re.compile(r"(\{%[-+]?\s*generation\s*(?:\+?%\}\n?|-%\}\s*))")
_MARK_END: Final = re.compile(
    r"(?:(?<=\n)[ \t]*(?=\{%[^-+])|\s*(?=\{%-)|(?=\{%))(\{%[-+]?\s*endgeneration\s*[-+]?%\})"
)
"""Marks around answers, with the white space that Jinja drops inside of them."""

_SIGN: Final = "\ue0f3"
"""A character of the private-use area, which no text holds."""


def has_marks(template: str) -> bool:
    return bool(_MARK_START.search(template))


def signing(template: str) -> str:
    """The template that writes a sign at each mark, and else the same."""
    begun = _MARK_START.sub(f"\\1{{{{ '{_SIGN}' }}}}", template)
    return _MARK_END.sub(f"{{{{ '{_SIGN}' }}}}\\1", begun)


def signed_parts(signed: str, text: str) -> list[Span] | None:
    """Where in `text` the parts between signs are; None where `signed` is not `text` with signs in pairs."""
    pieces = signed.split(_SIGN)
    if len(pieces) < 3 or len(pieces) % 2 == 0 or "".join(pieces) != text:
        return None
    ends = list(accumulate(map(len, pieces)))
    return list(zip(ends[:-1:2], ends[1::2], strict=True))
