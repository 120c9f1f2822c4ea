"""Terms are what somebody said, or `other`: never a guess."""

import pytest

from d3data.cards.facts import LICENSES, License, license
from d3data.images.presets import PRESETS

HUB = """
apache-2.0 mit bsd-2-clause bsd-3-clause cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0
cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0
cdla-permissive-1.0 cdla-permissive-2.0 gpl-2.0 gpl-3.0 odc-by odbl unlicense pddl
"""


def test_identifiers_are_those_of_the_hub():
    assert set(LICENSES) == set(HUB.split())


OTHER = ("Apache License", "CC BY", "CC BY 5.0", "not stated", "like MIT, but not for sale", "",
         "商用禁止")  # fmt: skip


@pytest.mark.parametrize(
    ("words", "known"),
    [
        ("CC BY 4.0", "cc-by-4.0"),
        ("cc-by-sa-4.0", "cc-by-sa-4.0"),
        ("CC0-1.0", "cc0-1.0"),
        ("CC0", "cc0-1.0"),
        ("MIT", "mit"),
        ("MIT License", "mit"),
        ("Apache 2.0", "apache-2.0"),
        ("ODbL-1.0", "odbl"),
        *((words, "other") for words in OTHER),
    ],
)
def test_words_become_identifiers_or_other(words, known):
    assert license(words).id == known


def test_terms_of_their_own_have_a_name_and_a_link():
    found = license("non-commercial use only, https://example.org/terms")
    assert found.name == "non-commercial-use-only-https-example.org-terms"
    assert found.link == "https://example.org/terms"
    assert license("non-commercial use only").link is None
    assert license("商用禁止") == license("...")
    assert license("...").name == "see-card"


def test_the_known_data_sets():
    ids = {name: license(preset.license).id for name, preset in PRESETS.items()}
    assert ids["digits"] == "cc-by-4.0"
    assert ids["fashion-mnist"] == "mit"
    assert {ids[name] for name in ("svhn", "cifar10", "imagenet", "tiny-imagenet")} == {"other"}


@pytest.mark.parametrize(
    "words",
    ["CC BY 4.0 (кроме коммерческого использования)", "CC BY 4.0 以外", "MIT (без изменений)",
     "MIT?", "GPL-3.0+", "\u039cIT", "≠ MIT", "MIT\u202e"],
)  # fmt: skip
def test_words_that_a_slug_leaves_out_count(words):
    assert license(words) == License("other", "see-card", None)
