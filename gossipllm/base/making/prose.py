"""Extraction of English paragraphs from a documentation page in HTML, Mallard or Perl's POD.

A paragraph is kept if it is

* running text: the contents of code blocks, tables, menus, headings and forms are dropped;
* made of sentences: long enough, mostly letters, with punctuation at the end;
* English, by its share of the most frequent English words.

In doubt a paragraph is dropped, because there is far more documentation than a small model can read in an hour.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SKIPPED_TAGS = _words(
    "pre table script style nav header footer form head select button textarea svg math "
    "h1 h2 h3 h4 h5 h6 title screen listing info synopsis"
)
_SKIPPED_CLASS = re.compile(
    r"(?<![\w-])(sphinxsidebar|related|nav\w*|menu|toc|contents|breadcrumbs?|headerlink|header|"
    r"footer|programlisting|screen|sidebar|index|sig|highlight\S*|literal-block|math|copyright|"
    r"synopsis)(?![\w-])"
)
_NEVER_SKIPPED = _words("html body p area base br col embed hr img input link meta source track wbr")
"""Tags that are kept even with a class in `_SKIPPED_CLASS`: they contain the whole page, or pages do not always close
them, so that the rest of the page would be dropped."""

_BLOCK_TAGS = _words(
    "p div li ul ol dl dt dd blockquote section article main body br hr td tr th aside figure "
    "figcaption center note item page terms title list steps"
)
_STOP_WORDS = _words(
    "the of to and a in is that for it as be with on are this by or an from not can if you which "
    "will have has was but at when all your may their they there than used use more"
)
_CLOSING = ".!?:)\"'\u201d\u2019"
_POD_CODE = re.compile(r"\b[A-Z](?:<<+\s(?P<wide>.*?)\s>>+|<(?P<plain>[^<>]*)>)")
_WORD = re.compile(r"[A-Za-z]+")
_WHITE = re.compile(r"\s+")


def html_prose(page: str) -> list[str]:
    """The paragraphs of an HTML or Mallard page that read as English prose, in order."""
    parser = _Blocks()
    parser.feed(page)
    parser.close()
    parser.end_block()
    return [text for text in parser.blocks if reads_as_prose(text)]


def pod_prose(page: str) -> list[str]:
    """The paragraphs of a page in Perl's Plain Old Documentation that read as English prose, in order, without
    formatting codes."""
    blocks: list[str] = []
    for block in re.split(r"\n\s*\n", page):
        if block.startswith(("=", " ", "\t")) or "E<" in block:  # commands, code, escapes
            continue
        plain = block
        while (shorter := _POD_CODE.sub(_inside, plain)) != plain:  # codes nest: B<I<both>>
            plain = shorter
        blocks.append(_WHITE.sub(" ", plain).strip())
    return [text for text in blocks if reads_as_prose(text)]


def _inside(code: re.Match[str]) -> str:
    """The visible text of a formatting code: `C<code>`, `C<< wide code >>` or `L<text|target>`."""
    return (code["wide"] or code["plain"] or "").split("|")[0]


def reads_as_prose(paragraph: str) -> bool:
    """Whether a paragraph is long enough, ends with punctuation, and is mostly letters and English.

    The thresholds were chosen by reading samples of the paragraphs that they keep and drop.
    """
    if not 60 <= len(paragraph) <= 6000 or paragraph[-1] not in _CLOSING:
        return False
    letters = sum(character.isalpha() or character == " " for character in paragraph)
    if letters < 0.88 * len(paragraph):
        return False
    words = _WORD.findall(paragraph.lower())
    return len(words) >= 10 and sum(word in _STOP_WORDS for word in words) >= 0.22 * len(words)


class _Blocks(HTMLParser):
    """Parser that collects the text between block tags, except inside skipped elements."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[str] = []
        self._text: list[str] = []
        self._skipped_tag = ""
        self._skipped_depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._skipped_depth:
            # Only elements of the same name are counted: other tags in it may be unclosed.
            self._skipped_depth += tag == self._skipped_tag
            return
        names = " ".join(value or "" for key, value in attrs if key in ("class", "role"))
        hidden = tag not in _NEVER_SKIPPED and _SKIPPED_CLASS.search(names)
        if tag in _SKIPPED_TAGS or hidden:
            self._skipped_tag, self._skipped_depth = tag, 1
        if tag in _BLOCK_TAGS or tag in _SKIPPED_TAGS:
            self.end_block()

    def handle_endtag(self, tag: str) -> None:
        if self._skipped_depth:
            self._skipped_depth -= tag == self._skipped_tag
        elif tag in _BLOCK_TAGS:
            self.end_block()

    def handle_data(self, data: str) -> None:
        if not self._skipped_depth:
            self._text.append(data)

    def end_block(self) -> None:
        if self._text:
            self.blocks.append(_WHITE.sub(" ", "".join(self._text)).strip())
            self._text = []
