"""What of a documentation package becomes text of the pretraining corpus."""

from __future__ import annotations

from pathlib import Path

from gossipllm.base.making.corpus import CorpusDocument, pages, unseen
from gossipllm.base.making.packages import PACKAGES
from gossipllm.base.making.prose import html_prose, pod_prose

PAGE = """<html><head><title>The title of a page is not a sentence of it.</title></head><body>
<nav><p>This is the menu, and all of it has to be dropped, though it looks like prose.</p></nav>
<div class="sphinxsidebar"><div>The same is true of what stands in the sidebar of this page.</div>
</div><h1>A heading that is as long as a paragraph is still not one of the paragraphs.</h1>
<p>The first paragraph of the page is kept, with its <code>code</code> and its <em>emphasis</em>
on one line.</p><pre>if the_code(is_prose): print("it is not, and must not be in the text")</pre>
<p>Too short.</p><p>Dieser Absatz ist lang genug und endet richtig, aber er ist nicht englisch.</p>
<p>0x00 0x01 0x02 0x03 0x04 0x05 0x06 0x07 0x08 0x09 the of to and a in is that for it as.</p>
<ul><li>The second one is an item of a list, and it has no closing tag of its own.
<li>The third one comes after it, which is &quot;good enough&quot; for a parser of pages.</ul>
"""


def test_only_the_prose_of_a_page_is_kept() -> None:
    assert html_prose(PAGE) == [
        "The first paragraph of the page is kept, with its code and its emphasis on one line.",
        "The second one is an item of a list, and it has no closing tag of its own.",
        'The third one comes after it, which is "good enough" for a parser of pages.',
    ]


def test_pod_loses_its_formatting_codes_and_its_code() -> None:
    page = (
        "=head1 NAME\n\nThis is B<not I<only>> for the L<reader|perlop> of a\n"
        "C<< page->new >>, it is for F<all> of them.\n\n    $code = 1;\n"
    )
    assert pod_prose(page) == ["This is not only for the reader of a page->new, it is for all of them."]


def test_pages_in_other_languages_and_change_logs_are_not_opened(tmp_path: Path) -> None:
    for name in ("a.html", "b.de.html", "c.html.en", "fr/d.html", "changelog.html", "e.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("<p>")
    assert [path.name for path in pages(tmp_path)] == ["a.html", "c.html.en"]


def test_a_paragraph_is_kept_once_in_all_packages() -> None:
    seen: set[bytes] = set()
    assert unseen(["one", "two", "one"], seen) == ["one", "two"]
    assert unseen(["two", "three", "bro\ufffdken"], seen) == ["three"]


def test_about_one_document_in_sixty_is_held_out_by_its_name() -> None:
    held_out = [CorpusDocument(name=f"package/{n}.html", paragraphs=[]).held_out for n in range(10_000)]
    assert 100 < sum(held_out) < 200  # 150 expected, standard deviation 12


def test_the_source_of_the_demonstration_texts_is_not_read() -> None:
    assert "debian-handbook" not in PACKAGES
