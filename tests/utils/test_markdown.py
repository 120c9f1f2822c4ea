"""Strangers' text is shown by a Markdown reader as it is, and is nothing but text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d3data.utils import markdown
from d3data.utils.text import upright
from showing import NAMES, READER, Reader, shown

NASTY = [
    *NAMES,
    *("- item", "---", "===", "1. one", "1) one", "123456789. many", "+ plus", "> quote"),
    *("```", "~~~", "    indented", "&lt;b&gt;", "&#60;b&#62;", "<https://x.example>"),
    *(
        "[a]: http://x.example",
        "\\",
        "a\\",
        "\\|",
        "__init__",
        "*",
        "https://x.example/a_b_c",
        "5.5 %",
    ),
]


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("before", ["", "- ", "> ", "a "])
def test_text_is_text_wherever_it_stands(name, before):
    read = Reader(READER.render(before + markdown.text(name)))
    assert {tag for tag, _ in read.tags} <= {"p", "ul", "li", "blockquote"}
    assert read.words == before.strip("-> ") + " " * (before == "a ") + shown(name)


@given(st.text(st.characters(blacklist_categories=["Cc", "Cs"]), min_size=1))
def test_any_text_is_text(name):
    read = Reader(READER.render(f"- {markdown.text(name)}"))
    assert {tag for tag, _ in read.tags} <= {"ul", "li"}
    assert read.words == shown(name)


@pytest.mark.parametrize("name", NASTY)
def test_a_cell_stays_a_cell(name):
    rows = (("what", "bytes"), ("--", "--:"), (markdown.text(name), 1), ("other", 2))
    read = Reader(READER.render("\n".join(f"| {first} | {second} |" for first, second in rows)))
    tags = [tag for tag, _ in read.tags]
    assert (tags.count("tr"), tags.count("td"), tags.count("th")) == (3, 4, 2)
    assert set(tags) == {"table", "thead", "tbody", "tr", "td", "th"}
    assert shown(name) in read.words


@pytest.mark.parametrize("name", [*NASTY, "```\n# out\n```", "````", "<!-- d3data:end -->"])
def test_a_fence_is_not_closed_from_within(name):
    fence = markdown.fenced(f"first\n{name}\nlast", "bibtex")
    (token,) = READER.parse(fence)
    assert (token.type, token.info) == ("fence", "bibtex")
    assert token.content == upright(f"first\n{name}\nlast\n").replace("<!--", "<! --")
    assert "<!-- d3data:end -->" not in fence


def test_only_addresses_and_arxiv_numbers_become_links():
    source = (
        "*A* (https://x.example/a_(b)?c=1&d=2#e), arXiv:2403.00999; javascript:alert(1) [x](y)"
    )
    read = Reader(READER.render(markdown.linked(source)))
    links = [attrs["href"] for tag, attrs in read.tags if tag == "a"]
    assert links == ["https://x.example/a_", "https://arxiv.org/abs/2403.00999"]
    assert read.words == source


@pytest.mark.parametrize("name", NASTY)
def test_linked_text_is_text_too(name):
    read = Reader(READER.render(f"from {markdown.linked(name)}."))
    assert {tag for tag, _ in read.tags} <= {"p", "a"}
    links = [attrs["href"] for tag, attrs in read.tags if tag == "a"]
    assert all(link.startswith(("http://x.example", "https://x.example")) for link in links)
    assert read.words == f"from {shown(name)}."


def test_what_links_by_itself_elsewhere_is_broken_up_once():
    line = markdown.text("http://x.example www.x.example me@x.example HTTPS://X")
    assert not any(bare in line for bare in ("p://", "S://", "www.", "e@"))
    assert markdown.text(line) is line


def test_the_first_address_of_a_text():
    first = markdown.address("see https://a.example/x, or http://b.example")
    assert first == "https://a.example/x"
    assert markdown.address("arXiv 1708.07747") == "https://arxiv.org/abs/1708.07747"
    assert markdown.address("javascript:alert(1) ftp://x file:///etc") is None
