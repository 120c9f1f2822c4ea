"""Records: what is wrong with them is told in a few words, however much it is."""

from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, Field

from d3data.errors import FormatError, RecipeError
from d3data.utils.schema import Frozen


class Leaf(Frozen):
    size: int = Field(ge=0)
    color: str = "red"


class Tree(Frozen):
    leaves: tuple[Leaf, ...] = Field(default=(), min_length=1)
    pairs: tuple[tuple[int, ...], ...] = ((1,),)
    names: dict[str, int] = {}


def fault(**values: Any) -> str:
    with pytest.raises(FormatError, match="here: ") as caught:
        Tree.parse({"leaves": [{"size": 1}], **values}, where="here", error=FormatError)
    return str(caught.value).removeprefix("here: ")


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
