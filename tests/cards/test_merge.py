"""People's keys, comments and text survive; ours are renewed; nobody can forge the marks."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from d3data.cards import front_matter, merge
from d3data.cards.merge import BEGIN, END, joined, parted
from d3data.errors import FormatError

KEYS = {
    "pretty_name": "toys: the second",
    "license": "cc-by-4.0",
    "tags": ["d3data", "synthetic", "ipc-2"],
    "configs": [{"config_name": "preview", "default": True, "data_files": "p/*"}],
}
NEW = joined(KEYS, f"{BEGIN}\n# toys\n\nnew text\n{END}")
OLD = f"""---
# a card of mine
language: en   # theirs
license: other
license_name: old-terms
license_link: https://example.org/old

# about tags
tags:
- medical
# inside ours
- d3data
- ipc-7
extra: {{a: [1, 2],
  b: 2}}   # flow
text: |
  # no comment
  license: mit
---
Before, by people.

{BEGIN}
old text
{END}

After, by people.
"""


def keys(card):
    return yaml.safe_load(parted(card)[0])


def test_what_people_wrote_stays_and_ours_is_renewed():
    merged = merge(OLD, NEW)
    assert (
        merged
        == f"""---
# a card of mine
language: en   # theirs
license: cc-by-4.0

# about tags
tags:
- d3data
- synthetic
- ipc-2
- medical
extra: {{a: [1, 2],
  b: 2}}   # flow
text: |
  # no comment
  license: mit
pretty_name: "toys: the second"
configs:
- config_name: preview
  default: true
  data_files: p/*
---
Before, by people.

{BEGIN}
# toys

new text
{END}

After, by people.
"""
    )


def test_lines_within_our_keys_go_with_them():
    old = "---\npretty_name: |\n  old\n\n  # a line of it\nlanguage: en\n---\n"
    assert merge(old, NEW).startswith('---\npretty_name: "toys: the second"\nlanguage: en\n')


def test_merging_again_changes_nothing():
    once = merge(OLD, NEW)
    assert merge(once, NEW) == once
    assert merge(NEW, NEW) == NEW
    assert merge("", NEW) == merge(" \n", NEW) == NEW


def test_a_card_without_our_text_gets_it_at_its_end():
    merged = merge("---\nlanguage: en\n---\n# Mine\n", NEW)
    assert keys(merged)["language"] == "en"
    assert merged.endswith(f"---\n# Mine\n\n{BEGIN}\n# toys\n\nnew text\n{END}\n")
    bare = merge("# Mine, and no keys\n", NEW)
    assert keys(bare) == KEYS
    assert "# Mine, and no keys\n" in bare
    assert merge(bare, NEW) == bare


def test_line_ends_and_marks_of_windows_stay():
    old = "\ufeff" + OLD.replace("\n", "\r\n")
    merged = merge(old, NEW)
    assert merged.replace("\r\n", "\n") == merge(OLD, NEW)
    assert "\n" not in merged.replace("\r\n", "")


def test_other_configs_stay_and_keep_their_default():
    theirs = {"config_name": "raw", "default": True, "data_files": "raw/*"}
    stale = {"config_name": "preview", "data_files": "old/*"}
    old = joined({"configs": [stale, theirs]}, "text")
    ours = {"config_name": "preview", "data_files": "p/*"}
    assert keys(merge(old, NEW))["configs"] == [ours, theirs]


def test_a_key_that_we_do_not_say_stays_theirs():
    old = joined({"source_datasets": ["mnist"], "license_name": "gone"}, "text")
    merged = keys(merge(old, NEW))
    assert merged["source_datasets"] == ["mnist"]
    assert "license_name" not in merged


@pytest.mark.parametrize(
    "front",
    [
        "{language: en, license: mit, tags: [medical]}",
        "  language: en\n  license: mit\n  tags: [medical]",
        "tags: &t [medical]\nlanguage: en\nmore: *t",
        "? language\n: en\n? tags\n: - medical",
        "base: &b {language: en}\n<<: *b\ntags: medical",
        "language: en\ntags: [medical]\n# the end",
    ],
)
def test_however_it_is_written_the_keys_are_theirs_and_ours(front):
    old = f"---\n{front}\n---\n"
    theirs, merged = keys(old), merge(old, NEW)
    wanted = {**theirs, **KEYS, "tags": [*KEYS["tags"], "medical"]}
    wanted.pop("license_name", None)
    assert keys(merged) == wanted
    assert merge(merged, NEW) == merged


@pytest.mark.parametrize(
    ("front", "said"),
    [
        ("a: [1", "line 3: expected"),
        ("a: 1\n\tb: 2", "line 3"),
        ("- a\n- b", "no list of keys"),
        ("just text", "no list of keys"),
        ("a: 1\nb: 2\na: 3", "key a twice"),
        ("a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a: !!python/name:os.system", "could not determine a constructor"),
        ("a: *nowhere", "undefined alias"),
        ("a: 2026-99-99", "broken"),
        ("[" * 5000, "broken"),
        ("a: \x07", "broken"),
    ],
)
def test_broken_yaml_is_a_clear_error(front, said):
    with pytest.raises(FormatError, match=said):
        merge(f"---\n{front}\n---\n", NEW)


def test_a_bomb_of_aliases_is_not_blown_up():
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    for front in (bomb, f"{{{bomb.strip().replace(chr(10), ', ')}}}"):
        merged = merge(f"---\n{front}\n---\n", NEW)
        assert len(merged) < 5000


@pytest.mark.parametrize(
    "body", [f"{BEGIN}\ntext", f"text\n{END}", f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}"]
)
def test_marks_that_are_no_pair_are_an_error(body):
    with pytest.raises(FormatError, match="needs one line"):
        merge(f"---\na: 1\n---\n{body}\n", NEW)


def test_a_mark_within_a_line_is_no_mark():
    old = f"---\na: 1\n---\nThe line `{BEGIN}` starts it and {END} ends it.\n"
    assert "The line" in merge(old, NEW)


TEXTS = st.text(st.characters(blacklist_categories=["Cc", "Cs"]), min_size=1, max_size=30)
ODD = ["1e3", "0o7", "1:30", "no", "~", "", " ", "a: b", "- a", "'", '"', "&a", "*a", "!!str", "%",
       "@", "`", "{{ x }}", "\u2028", "\x85", "2026-01-01", ".inf", "=", "<<", "#", "a #b", "\\",
       "---", "...", "😀", "? x", "|", ">"]  # fmt: skip


@given(TEXTS | st.sampled_from(ODD))
def test_any_text_comes_back_from_yaml_as_it_was(value):
    written = {"pretty_name": value, "tags": [value], "configs": [{"config_name": value}]}
    text = front_matter.dump(written)
    assert yaml.safe_load(text) == written
    assert front_matter.load(text) == written


@given(st.dictionaries(TEXTS | st.sampled_from(front_matter.OWNED), TEXTS | st.integers()))
def test_any_keys_of_theirs_survive(theirs):
    merged = keys(merge(joined(theirs, "text"), NEW))
    kept = {k: v for k, v in theirs.items() if k not in KEYS and k not in front_matter.LICENCE}
    assert kept.items() <= merged.items()
    assert merged["license"] == "cc-by-4.0"
    assert merged["tags"][:3] == KEYS["tags"]
