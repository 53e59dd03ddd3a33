"""A domain's own wishes, from the raw attributes of its metadata element."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.api.printable import LONGEST_PART
from controller.api.wishes import Wishes, parse_wishes


@pytest.mark.parametrize(("text", "size"), [("67108864", 2**26), ("2Mi", 2**21), ("2048Ki", 2**21), ("0", 0)])
def test_a_small_size_is_taken_with_its_unit(text: str, size: int) -> None:
    assert parse_wishes(None, None, text, None, {}) == Wishes(minimum=size)


def test_an_error_is_cut_to_what_can_be_read() -> None:
    assert Wishes(error="x" * 3_000_000).error == "x" * (LONGEST_PART - 3) + "…"


def test_no_attributes_are_no_wishes() -> None:
    assert parse_wishes(None, None, None, None, {}) == Wishes()


def test_all_attributes_are_read() -> None:
    assert parse_wishes("yes", "200", "512Mi", "2Gi", {"tier": "db"}) == Wishes(
        opt_out=True, weight=200, minimum=2**29, maximum=2**31, labels={"tier": "db"}
    )


@pytest.mark.parametrize(("text", "opted_out"), [("yes", True), ("true", True), ("no", False), ("false", False)])
def test_opting_out_is_said_with_yes_no_true_or_false(text: str, opted_out: bool) -> None:
    assert parse_wishes(text, None, None, None, {}) == Wishes(opt_out=opted_out)


@pytest.mark.parametrize(
    ("attributes", "error"),
    [
        (("maybe", None, None, None), "optOut 'maybe': neither yes nor no; use yes, no, true or false"),
        ((None, "0", None, None), "weight '0': not a weight; use an integer from 1 to 10000"),
        ((None, "10001", None, None), "weight '10001': not a weight; use an integer from 1 to 10000"),
        ((None, "1.5", None, None), "weight '1.5': not a weight; use an integer from 1 to 10000"),
        (
            (None, None, "1GB", None),
            "minimum '1GB': not a quantity; use 1Gi (powers of 1024) or 1G (powers of 1000)",
        ),
        ((None, None, "2048", None), "minimum '2048': 2048 bytes, less than any size that is meant; 2048Mi?"),
        ((None, None, None, "524288"), "maximum '524288': 524288 bytes, less than any size that is meant; 524288Ki?"),
        (
            (None, None, None, "2097152"),
            "maximum '2097152': 2097152 bytes, less than any size that is meant; 2097152Ki?",
        ),
        ((None, None, "67108863", None), "minimum '67108863': 67108863 bytes, less than any size that is meant;"),
        ((None, None, None, "-1"), "maximum '-1': not a quantity; use a number with"),
        ((None, None, "2Gi", "1Gi"), "maximum '1Gi': less than minimum 2Gi; raise it or lower minimum"),
    ],
)
def test_what_cannot_be_understood_is_an_error_with_field_value_and_remedy(
    attributes: tuple[str | None, str | None, str | None, str | None], error: str
) -> None:
    assert parse_wishes(*attributes, {}).error.startswith(error)


def test_every_error_is_told() -> None:
    error = parse_wishes("1", "x", "y", "z", {}).error
    assert [name for name in ("optOut", "weight", "minimum", "maximum") if f"{name} '" in error] == [
        "optOut",
        "weight",
        "minimum",
        "maximum",
    ]


texts = st.one_of(st.none(), st.text(), st.sampled_from(["yes", "5", "1Gi"]))


@settings(deadline=None)
@given(texts, texts, texts, texts, st.dictionaries(st.text(), st.text()))
def test_nothing_ever_raises(
    opt_out: str | None, weight: str | None, minimum: str | None, maximum: str | None, labels: dict[str, str]
) -> None:
    wishes = parse_wishes(opt_out, weight, minimum, maximum, labels)
    assert wishes.labels == labels
    assert "\n" not in wishes.error
