"""People's keys, comments and text survive; ours are renewed; nobody can forge the marks."""

import re
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from d3data.cards import front_matter, merge, repository
from d3data.cards.merging import BEGIN, END, joined, parted, tagged
from d3data.errors import FormatError

KEYS = {
    "pretty_name": "toys: the second",
    "license": "cc-by-4.0",
    "tags": ["d3data", "synthetic", "ipc-2"],
    "configs": [{"config_name": "preview", "default": True, "data_files": "p/*"}],
}
OURS = (*KEYS, "license_name", "license_link", "source_datasets", "task_categories", "task_ids")
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
{tagged(["d3data", "ipc-7"])}
old text
{END}

After, by people.
"""


def keys(card):
    return yaml.safe_load(parted(card)[0])


MERGED = f"""---
# a card of mine
language: en   # theirs
license: cc-by-4.0

# about tags
tags:
- d3data
- synthetic
- ipc-2
- medical
# inside ours
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


def test_what_people_wrote_stays_and_ours_is_renewed_once():
    assert merge(OLD, NEW) == MERGED
    old = "---\npretty_name: |\n  old\n\n  # a line of it\nlanguage: en\n---\n"
    assert merge(old, NEW).startswith('---\npretty_name: "toys: the second"\nlanguage: en\n')
    assert merge(MERGED, NEW) == MERGED
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


def test_line_ends_stay():
    old = "\ufeff" + OLD.replace("\n", "\r\n")
    merged = merge(old, NEW)
    assert merged.replace("\r\n", "\n") == merge(OLD, NEW)
    assert "\n" not in merged.replace("\r\n", "")
    old = f"---\nx: 1\r\ny: 2\n---\nwords\r\n{BEGIN}\r\nold\n{END}\r\nmore\n"
    merged = merge(old, NEW)
    assert merged.startswith("---\nx: 1\r\ny: 2\n")
    assert "words\r\n" in merged
    assert merged.endswith(f"{END}\r\nmore\n")


def test_other_configs_and_keys_that_we_do_not_say_stay_theirs():
    theirs = {"config_name": "raw", "default": True, "data_files": "raw/*"}
    stale = {"config_name": "preview", "data_files": "old/*"}
    old = joined({"configs": [stale, theirs]}, "text")
    ours = {"config_name": "preview", "data_files": "p/*"}
    assert keys(merge(old, NEW))["configs"] == [ours, theirs]
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


WRONG = ("!!bool x", "!!int ''", "!!float ''", "!!timestamp x", "2024-99-99", "!!binary x",
         "!!set [a]")  # fmt: skip  # values that are not of their type


@pytest.mark.parametrize(
    ("front", "said"),
    [
        ("a: [1", "line 3: expected"),
        ("a: 1\n\tb: 2", "line 3"),
        ("a: 1\nb: 2\na: 3", "key a twice"),
        ("a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a: !!python/name:os.system", "could not determine a constructor"),
        ("a: *nowhere", "undefined alias"),
        ("a: 2026-99-99", "broken"),
        ("a: " + "[" * 5000, "broken"),
        ("{a: 1", "broken"),
        ("a: \x07", "broken"),
        *((f"a: 1\nb: {value}", r"broken \(line 3: ") for value in WRONG),
    ],
)
def test_broken_yaml_is_a_clear_error(front, said):
    with pytest.raises(FormatError, match=said):
        merge(f"---\n{front}\n---\n", NEW)


def test_a_long_line_takes_no_longer_than_its_length():
    began = time.process_time()
    merge(f"words\n{' ' * 100_000}x\n", NEW)
    assert time.process_time() - began < 4


def test_so_much_yaml_is_read_and_no_more_and_a_bomb_of_aliases_is_not_blown_up():
    with pytest.raises(FormatError, match="has 65544 characters, and at most 65536 are read"):
        merge(f"---\nabout: {'a' * (1 << 16)}\n---\n", NEW)
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


TAGGED = f"---\ntags: [d3data, dm, gaussian, ipc-50]  # mine: {{}}\n---\n{BEGIN}\n{{}}\n{END}\n"


def test_tags_of_people_stay_whatever_they_are_called():
    for line in ("", tagged(["d3data"])):
        merged = merge(TAGGED.format("the last three", line), NEW)
        assert keys(merged)["tags"] == [*KEYS["tags"], "dm", "gaussian", "ipc-50"]
        assert "]  # mine: the last three\n" in merged
    merged = merge(TAGGED.format("gaussian", tagged(["d3data", "dm", "ipc-50"])), NEW)
    assert keys(merged)["tags"] == [*KEYS["tags"], "gaussian"]


@pytest.mark.parametrize(
    "front",
    [
        "x: &t [a]  # one\ntags: *t\nlanguage: en  # two\n",
        "license:   other # asked\nlanguage: &e en\nx: *e # y\n",
        "tags: [a,\n  b] # three\nx: {y: 1} # z\n",
        "  # first\n  tags:  # of mine\n   - a # b\n   - c\n  x: y\n",
        "tags:\n# empty\nx: y # z\n",
        "tags:\n- d3data\n# below ours\n- c\n",
        "configs:\n# mine\n- &r # raw\n  config_name: raw\n  data_files: r # all\n- *r\nx: *r\n",
    ],
)
def test_comments_and_anchors_stay_where_a_value_of_ours_is_exchanged(front):
    merged = merge(f"---\n{front}---\n", NEW)
    for line in front.splitlines():
        assert line.partition(":")[0].strip() in OURS or line.startswith("  b") or line in merged
    assert re.findall("# .*", merged) == [*re.findall("# .*", front), "# toys"]
    theirs = {key: value for key, value in yaml.safe_load(front).items() if key not in OURS}
    assert theirs.items() <= keys(merged).items()
    assert keys(merged)["license"] == "cc-by-4.0"
    assert merge(merged, NEW) == merged


@pytest.mark.parametrize(
    "front",
    [
        "{language: en, tags: [a]}  # mine",
        "tags: &t [a]\nx: *t  # mine",
        "tags: [a,  # mine\n  b]\nlanguage: en",
        "# mine\n? tags\n: &t [a]\n? x\n: *t",
    ],
)
def test_a_comment_that_would_be_lost_is_an_error(front):
    with pytest.raises(FormatError, match="without losing a comment"):
        merge(f"---\n{front}\n---\n", NEW)
    bare = merge(f"---\n{front.replace('# mine', '')}\n---\n", NEW)
    assert "a" in keys(bare)["tags"]


@pytest.mark.parametrize("fence", ["```", "~~~~", "   ```html"])
def test_marks_that_are_shown_as_code_are_none(fence):
    close = fence.strip(" html")
    shown = f"{fence}\n{BEGIN}\n{close[:-1]}\n{END}\n{close}\n"
    old = f"---\na: 1\n---\nSo:\n\n{shown}\n{BEGIN}\nold\n{END}\n\n{shown}Mine.\n"
    merged = merge(old, NEW)
    assert parted(merged)[1] == parted(old)[1].replace(
        f"{BEGIN}\nold\n{END}", parted(NEW)[1].strip()
    )
    assert merge(f"{shown}Mine.\n", NEW).count(BEGIN) == 2
    assert merge(f"---\na: 1\n---\n    {BEGIN}\n", NEW).count(BEGIN) == 2
    assert "ends it" in merge(f"---\na: 1\n---\n`{BEGIN}` starts it and {END} ends it.\n", NEW)


def test_a_fence_that_is_not_closed_is_an_error():
    with pytest.raises(FormatError, match="opens code with ``` and never closes it"):
        merge("```\ncode\n", NEW)
    inside = f"---\na: 1\n---\n{BEGIN}\n```\n{END}\n"
    assert parted(merge(inside, NEW))[1].strip() == parted(NEW)[1].strip()


@pytest.mark.parametrize(
    "text",
    [
        "---\n\n# Mine\n\nSome words.\n\n---\n\nMore.\n",
        "---\n- a\n- b\n---\n",
        "\n\n---\nWords: of mine\n",
        "# Mine\n\n---\n\na: b\n\n---\n",
        "Words.\n\n---",
    ],
)
def test_rules_in_a_text_are_no_yaml(text):
    merged = merge(text, NEW)
    assert keys(merged) == KEYS
    assert parted(merged)[1].startswith(f"\n{text}")
    assert merge(merged, NEW) == merged
    merged = merge(f"---\nlanguage: en\n---\n{text}", NEW)
    assert parted(merged)[1].startswith(text)
    assert keys(merged)["language"] == "en"


SOON = settings(deadline=None, max_examples=40)  # no clock decides
LINES = st.lists(
    st.sampled_from(["words", "", "  ", "---", "a: b", "\u2028x", "\x85", "x\r", "| a |", "> q"])
)


@SOON
@given(LINES, LINES, st.sampled_from(["\n", "\r\n"]))
def test_what_stands_around_ours_survives_byte_for_byte(before, after, end):
    above, below = ("".join(f"{line}{end}" for line in lines) for lines in (before, after))
    old = f"---{end}language: en{end}---{end}{above}{BEGIN}{end}old{end}{END}{end}{below}"
    merged = merge(old, NEW)
    ours = parted(NEW)[1].strip().replace("\n", end)
    assert parted(merged)[1] == f"{above}{ours}{end}{below}"
    assert merge(merged, NEW) == merged
    bare = merge(f"---{end}language: en{end}---{end}{above}", NEW)
    assert parted(bare)[1].startswith(above)
    assert merge(bare, NEW) == bare


def test_the_card_says_where_it_is_published():
    load = 'data = d3data.load("{}@1.0.0")'
    assert repository(joined({}, f"{BEGIN}\n{load.format('me/x')}\n{END}")) == "me/x"
    for text in ("", load.format("me/x"), f"{BEGIN}\n{load.format('x')}\n{END}"):
        assert repository(joined({}, text)) is None


TEXTS = st.text(st.characters(blacklist_categories=["Cc", "Cs"]), min_size=1, max_size=30)
ODD = ["1e3", "0o7", "1:30", "no", "~", "", " ", "a: b", "- a", "'", '"', "&a", "*a", "!!str", "%",
       "@", "`", "{{ x }}", "\u2028", "\x85", "2026-01-01", ".inf", "=", "<<", "#", "a #b", "\\",
       "---", "...", "😀", "? x", "|", ">"]  # fmt: skip


@SOON
@given(TEXTS | st.sampled_from(ODD))
def test_any_text_comes_back_from_yaml_as_it_was(value):
    written = {"pretty_name": value, "tags": [value], "configs": [{"config_name": value}]}
    text = front_matter.dump(written)
    assert yaml.safe_load(text) == written
    assert front_matter.load(text) == written


@SOON
@given(st.dictionaries(TEXTS | st.sampled_from(OURS), TEXTS | st.integers()))
def test_any_keys_of_theirs_survive(theirs):
    merged = keys(merge(joined(theirs, "text"), NEW))
    kept = {k: v for k, v in theirs.items() if k not in KEYS and k not in front_matter.LICENSE}
    assert kept.items() <= merged.items()
    assert merged["license"] == "cc-by-4.0"
    assert merged["tags"][:3] == KEYS["tags"]
