"""Records: what is wrong with them is told in a few words, however much it is."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, Field, field_validator, model_validator

from d3data.errors import FormatError, RecipeError
from d3data.utils.schema import Frozen


class Leaf(Frozen):
    kind: Literal["leaf"] = "leaf"
    size: int = Field(default=1, ge=0)
    color: str = "red"


class Branch(Frozen):
    kind: Literal["branch"] = "branch"
    length: int = 1
    leaves: tuple[Leaf, ...] = ()


class Tree(Frozen):
    height: float = Field(default=1.0, gt=0)
    top: Leaf | Branch = Field(default=Leaf(), discriminator="kind")
    leaves: tuple[Leaf, ...] = Field(default=(), min_length=1)
    pairs: tuple[tuple[int, ...], ...] = ((1,),)
    names: dict[str, int] = {}
    low: int = 0
    name: str = "tree"

    @field_validator("name")
    @classmethod
    def _named(cls, name: str) -> str:
        if not name:
            raise ValueError("a tree needs a name")
        return name

    @model_validator(mode="after")
    def _ordered(self) -> "Tree":
        if self.low > self.height:
            raise ValueError("low is above height")
        return self


class Forest(Frozen):
    trees: tuple[Tree, ...]


def fault(**values: Any) -> str:
    with pytest.raises(FormatError, match="here: ") as caught:
        Tree.parse({"leaves": [{"size": 1}], **values}, where="here", error=FormatError)
    return str(caught.value).removeprefix("here: ")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"low": 2}, "low is above height"),
        ({"name": ""}, "name: a tree needs a name (got '')"),
        ({"hieght": 2}, "unknown key 'hieght': did you mean height?"),
        ({"top": {"kind": "branch", "lenght": 2}},
         "unknown key 'top.lenght': did you mean length?"),
        ({"leaves": [{"colour": "red"}]}, "unknown key 'leaves.0.colour': did you mean color?"),
        ({"top": {"kind": "branch", "leaves": [{"colr": 1}]}},
         "unknown key 'top.leaves.0.colr': did you mean color?"),
        ({"height": -1}, "height: must be greater than 0 (got -1)"),
        ({"height": float("nan")}, "height: must be a finite number (got nan)"),
    ],
)  # fmt: skip
def test_a_fault_is_told_in_its_own_words_with_the_nearest_key(values, message) -> None:
    assert fault(**values) == message


def test_a_fault_inside_a_list_has_its_place_and_a_missing_key_is_named() -> None:
    tree = {"leaves": [{}]}
    with pytest.raises(RecipeError, match=r"^here: trees\.1: low is above height$"):
        Forest.parse({"trees": [tree, tree | {"low": 2}]}, where="here")
    with pytest.raises(RecipeError, match=r"^here: trees: Field required$"):
        Forest.parse({}, where="here")


def test_a_list_ends_with_its_first_fault() -> None:
    assert fault(leaves=[{"size": 1}, {"size": -1}, {"size": -2}]) == (
        "leaves.1.size: must be greater than or equal to 0 (got -1)"
    )
    assert fault(leaves=[{"size": -1}] * 1000).count(";") == 0
    assert fault(pairs=[[1], ["a", "b"], ["c"]]).startswith("pairs.1.0: ")


def test_an_empty_list_is_said_to_be_too_short() -> None:
    assert fault(leaves=[]).startswith("leaves: Tuple should have at least 1 item")


def test_all_faults_of_a_record_are_told_up_to_ten() -> None:
    told = fault(leaves=[{"size": "x", "colour": 1}], pairs=0)
    assert [place.split(":")[0] for place in told.split("; ")] == [
        "leaves.0.size",
        "unknown key 'leaves.0.colour'",
        "pairs",
    ]
    many = fault(**{f"key{number}": 0 for number in range(25)}).split("; ")
    assert len(many) == 11
    assert many[-1] == "and 15 more"


def test_a_message_is_short_whatever_was_given() -> None:
    long = "x" * 1_000_000
    wrong = [{"names": {long: long}}, {long: 1}, {"leaves": [long]}, {"leaves": {long: long}}]
    assert all(len(fault(**values)) < 300 for values in wrong)


def test_even_ten_long_faults_make_a_short_message() -> None:
    def refuse(value: int) -> int:
        raise ValueError("x" * 1000)

    class Loud(Frozen):
        first: Annotated[int, AfterValidator(refuse)]
        others: tuple[Annotated[int, AfterValidator(refuse)], ...] = ()
        named: dict[str, Annotated[int, AfterValidator(refuse)]] = {}

    for count, most in ((0, 600), (9, 2_010)):
        values = {"first": 1, "named": {str(number): number for number in range(count)}}
        with pytest.raises(FormatError) as caught:
            Loud.parse(values, where="here", error=FormatError)
        assert 500 < len(str(caught.value)) <= most


def test_a_table_has_bounds() -> None:
    keys = {f"key{number}": number for number in range(10_001)}
    assert fault(names=keys) == "a table has more than 10,000 keys"
    del keys["key0"]
    found = Tree.parse({"leaves": [{"size": 1}], "names": keys}, where="here")
    assert len(found.names) == 10_000


@pytest.mark.parametrize("value", [3, None, "text", [1], (1,)])
def test_what_is_no_table_is_refused(value: Any) -> None:
    with pytest.raises(RecipeError, match="a page"):
        Frozen.parse(value, where="a page")
