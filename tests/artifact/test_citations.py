"""BibTeX of a method and of the real images, whatever somebody wrote into a manifest."""

import re

import pytest

import made
from d3data.artifact import citations
from d3data.distill.objectives import objectives
from d3data.sources.registry import SPECS


def entries(reference: str = "nobody, never", **told: str) -> dict[str, str]:
    """The entries by key."""
    about = made.ABOUT.model_copy(
        update={
            "method": made.ABOUT.method.model_copy(update={"reference": reference}),
            "provenance": made.ABOUT.provenance.model_copy(update=told),
        }
    )
    found = citations.bibtex(about).split("\n\n")
    return {re.match(r"@misc\{([a-z0-9-]+),", entry)[1]: entry for entry in found}  # type: ignore[index]


REFERENCES = {one.reference for one in (*objectives.values(), *SPECS) if one.reference}


@pytest.mark.parametrize("reference", sorted(REFERENCES))
def test_every_method_of_ours_has_its_paper(reference: str) -> None:
    key, source = entries(reference)
    assert (key.startswith("method-"), source) == (False, "images-toys")


def test_papers_are_found_by_their_number_and_cited_once() -> None:
    found = entries("A 2024, arXiv:2403.00999; B, arXiv 2110.04181v2; again 2403.00999")
    assert list(found) == ["qin2024distributional", "zhao2023distribution", "images-toys"]
    first = found["qin2024distributional"]
    assert "  author = {Qin, Tian and Deng, Zhiwei and Alvarez-Melis, David},\n" in first
    assert "  eprint = {2403.00999},\n  archivePrefix = {arXiv},\n}" in first
    assert "Subtask Decomposition}}" in first


@pytest.mark.parametrize(
    "reference",
    ["me & you, 2031", "arXiv:2999.00001", "12403.00999", "2403.009991", "3.2403.00999"],
)
def test_what_is_not_known_is_a_note(reference: str) -> None:
    found = entries(f"{reference}; arXiv:2403.00999")
    assert list(found) == ["qin2024distributional", "method-random", "images-toys"]
    assert f"note = {{{citations.escaped(reference)}}}" in found["method-random"]


def test_the_real_images_come_with_license_and_source() -> None:
    found = entries(task="My Birds_2", license="CC-BY 4.0", source="https://x.org/a_b?c=100%")
    assert found["images-my-birds-2"].splitlines()[1:3] == [
        r"  title = {My Birds\_2},",
        r"  note = {Licence: CC-BY 4.0. Source: https://x.org/a\_b?c=100\%},",
    ]


def test_nobodys_text_leaves_its_field() -> None:
    evil = r"}, author = {me}} @misc{x, \input{/etc/passwd} $x^2$ ~ #1 & 5% {{{"
    found = entries(evil, task=evil, license=evil, source=evil)
    assert len(found) == 2
    for entry in found.values():
        body = entry.strip()[entry.index("{") + 1 : -1]
        depth = 0
        for mark in body:  # as BibTeX counts braces, escaped ones too
            depth += {"{": 1, "}": -1}.get(mark, 0)
            assert depth >= 0
        assert depth == 0
        assert len(re.findall(r"^  [a-z]+ = \{.*\},$", entry, re.MULTILINE)) == 2
        assert r"\input" not in entry
        assert not re.search(r"(?<!\\)[#$%&~^]", entry)


def test_papers_need_no_escapes_and_their_keys_differ() -> None:
    known = list(citations.papers().values())
    keys = [re.match(r"@misc\{([a-z0-9]+),\n", entry)[1] for entry in known]  # type: ignore[index]
    assert len(set(keys)) == len(keys)
    for entry in known:
        texts = re.findall(r"^  (?:author|title) = \{+(.+?)\}+,$", entry, re.MULTILINE)
        assert len(texts) == 2
        assert [citations.escaped(text) for text in texts] == texts


def test_unknown_references_are_one_note_of_the_method() -> None:
    found = entries("foo 1999; bar 2001; arXiv 2403.00999")
    assert list(found) == ["qin2024distributional", "method-random", "images-toys"]
    assert "note = {foo 1999; bar 2001}" in found["method-random"]
