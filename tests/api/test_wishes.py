"""A domain's own wishes, from the raw attributes of its metadata element."""

import pytest
from hypothesis import given
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
        ((None, None, None, "-1"), "maximum '-1': a quantity cannot be negative; use 0"),
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


class TestAnnotationsOfThePod:
    """What the owner of a virtual machine asks for narrows what policy and metadata say, and never widens it."""

    @staticmethod
    def narrowed(own: Wishes | None = None, **asked: str) -> Wishes:
        annotations = {f"ballast.dev/{name.replace('_', '-')}": text for name, text in asked.items()}
        return (own or Wishes()).narrowed(annotations | {"kubevirt.io/domain": "db", "ballast.dev": "x"})

    def test_those_of_others_are_no_wishes(self) -> None:
        own = Wishes(weight=5, error="broken")
        assert self.narrowed(own) is own

    def test_all_of_them_are_read(self) -> None:
        asked = self.narrowed(mode="Observe", min_memory="1.5Gi", weight="50")
        assert asked == Wishes(observe=True, minimum=3 * 2**29, heaviest=50)

    def test_off_leaves_the_domain_alone(self) -> None:
        assert self.narrowed(mode="Off") == Wishes(opt_out=True)

    def test_what_the_metadata_opts_out_of_stays_out(self) -> None:
        assert self.narrowed(Wishes(opt_out=True), mode="Observe").opt_out

    @pytest.mark.parametrize(
        ("own", "asked", "minimum"), [(None, "1Gi", 2**30), (2**31, "1Gi", 2**31), (2**29, "1Gi", 2**30)]
    )
    def test_the_larger_minimum_counts(self, own: int | None, asked: str, minimum: int) -> None:
        assert self.narrowed(Wishes(minimum=own), min_memory=asked).minimum == minimum

    @pytest.mark.parametrize(
        ("name", "text", "error"),
        [
            ("mode", "off", "ballast.dev/mode 'off': not what an owner can ask for; use Off or Observe"),
            ("mode", "Enforce", "ballast.dev/mode 'Enforce': not what an owner can ask for; use Off or Observe"),
            ("mode", "", "ballast.dev/mode '': not what an owner can ask for"),
            ("min_memory", "512MB", "ballast.dev/min-memory '512MB': not a quantity; use 512Mi"),
            ("weight", "0", "ballast.dev/weight '0': not a weight; use an integer from 1 to 10000"),
            (
                "opt_out",
                "yes",
                "annotation 'ballast.dev/opt-out': unknown; known are ballast.dev/min-memory, ballast.dev/mode",
            ),
            ("Mode", "Off", "annotation 'ballast.dev/Mode': unknown"),
        ],
    )
    def test_what_cannot_be_understood_is_an_error(self, name: str, text: str, error: str) -> None:
        assert self.narrowed(**{name: text}).error.startswith(error)

    def test_capital_letters_which_kubernetes_takes_in_its_prefix_are_no_consent(self) -> None:
        told = Wishes().narrowed({"Ballast.dev/mode": "Off", "ballast.dev/mode": "Observe"})
        assert (told.opt_out, told.observe) == (False, True)
        assert told.error.startswith("annotation 'Ballast.dev/mode': unknown; known are ballast.dev/min-memory")

    def test_errors_of_the_metadata_are_told_as_well(self) -> None:
        told = self.narrowed(Wishes(error="weight '0': not a weight"), mode="no", weight="no").error
        assert told.startswith("weight '0': not a weight. ballast.dev/mode 'no': ")
        assert "ballast.dev/weight 'no': not a weight" in told


texts = st.one_of(st.none(), st.text(), st.sampled_from(["yes", "5", "1Gi"]))


@given(texts, texts, texts, texts, st.dictionaries(st.text(), st.text()))
def test_nothing_ever_raises(
    opt_out: str | None, weight: str | None, minimum: str | None, maximum: str | None, labels: dict[str, str]
) -> None:
    wishes = parse_wishes(opt_out, weight, minimum, maximum, labels)
    assert wishes.labels == labels
    assert "\n" not in wishes.error
    asked = {"mode": opt_out, "weight": weight, "min-memory": minimum, f"{maximum}": maximum}
    annotations = {f"ballast.dev/{name}": text or "" for name, text in asked.items()}
    assert "\n" not in wishes.narrowed(annotations).error
