"""Quantities of memory: Kubernetes' notation, whole bytes only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.api.quantity import format_quantity, parse_quantity


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512Mi", 512 * 2**20),
        ("2Gi", 2 * 2**30),
        ("1.5Gi", 3 * 2**29),
        (".5Gi", 2**29),
        ("4096.Ki", 2**22),
        ("1024Ki", 2**20),
        ("1Ti", 2**40),
        ("1Pi", 2**50),
        ("4Ei", 2**62),
        ("3000k", 3 * 10**6),
        ("100M", 10**8),
        ("1G", 10**9),
        ("1T", 10**12),
        ("1P", 10**15),
        ("1E", 10**18),
        ("1e9", 10**9),
        ("1E9", 10**9),
        ("0e99", 0),
        ("1.125Mi", 9 * 2**17),
        ("1.2Gi", 1288490189),
        ("67108863.9999999999", 2**26),
        ("0.1Gi", 107374183),
        ("1.0625Gi", 17 * 2**26),
        ("1.5e9", 15 * 10**8),
        ("1e+9", 10**9),
        ("9e007", 9 * 10**7),
        ("99999999e-0", 99999999),
        ("700000000000e-3", 7 * 10**8),
        ("68719476736000m", 2**36),
        ("68719476735999u", 68719477),
        ("+1Gi", 2**30),
        ("-0", 0),
        ("-0.0Gi", 0),
        ("0.0000", 0),
        ("0e-99", 0),
        ("67108864.000", 2**26),
        ("0070000000", 7 * 10**7),
        ("7e7", 7 * 10**7),
        (2**26, 2**26),
        ("1048.576k", 2**20),
        (2**62, 2**62),
    ],
)
def test_reads_the_notation_of_kubernetes(text: str | int, size: int) -> None:
    assert parse_quantity(text) == size


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "Mi",
            ".",
            ".Mi",
            "e3",
            "12Qx",
            "0x10",
            "1_000",
            "1,5Gi",
            "1.2.3",
            "12 Mi",
            " 12Mi",
            "12Mi\n",
        ),
        *("NaN", "Inf", "inf", "-1", "-1Gi", "+-1", "1e 3", "1e1.5", "1ee3", "1Mi3", "e3", "+", "-.Mi"),
        *("512mi", "512MB", "512MiB", "1K", "١", "²", "1Ｍ"),  # noqa: RUF001 - foreign digits are the point
        *("1e100", "1e-100", "0e99999999999999999999"),
        *("1m", "1000m", "1u", "1n", "0.5", "1.5", "1e-3", "1.0000Ki", "1.0001Ki", "1.e3", "1.25e2"),
        *("5Ei", "4.0000000000000000001Ei", "67108863.999999999", "9E", "1e19", "1e99", "9" * 33, 2**62 + 1, -1),
        *(True, False, 1.0, None, [], {}),
    ],
)
def test_refuses_everything_else(text: str | int) -> None:
    with pytest.raises(ValueError, match="; "):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("12Qx", "'12Qx': not a quantity; use a number with Ki, Mi, Gi, Ti, k, M, G or T behind it"),
        ("512MiB", "'512MiB': not a quantity; use 512Mi"),
        ("512 mb", "'512 mb': not a quantity; use 512Mi (powers of 1024) or 512M (powers of 1000)"),
        ("1K", "'1K': not a quantity; use 1Ki (powers of 1024) or 1k (powers of 1000)"),
        ("512m", "'512m': 1 byte, less than any size that is meant; 512Mi? Suffix m is a thousandth of a byte"),
        ("1500m", "'1500m': 2 bytes, less than any size that is meant; 1500Mi? Suffix m is a thousandth of a byte"),
        ("1.5", "'1.5': 2 bytes, less than any size that is meant; 2Gi? A number without a suffix is bytes"),
        ("-1Gi", "'-1Gi': a quantity cannot be negative; use 0 or more"),
        ("5Ei", "'5Ei': more than 2^62 bytes; use at most 4Ei"),
        (8, "'8': 8 bytes, less than any size that is meant; 8Gi? A number without a suffix is bytes"),
        ("512", "'512': 512 bytes, less than any size that is meant; 512Mi? A number without a suffix is bytes"),
        ("1e5", "'1e5': 100000 bytes, less than any size that is meant; 100000Ki? A number without a suffix is bytes"),
        (2**26 - 1, "67108863Ki? A number without a suffix is bytes"),
        ("6e7", "6e7': 60000000 bytes, less than any size that is meant; 60000000Ki?"),
        ("512Ki", "'512Ki': 524288 bytes, less than any size that is meant; use 1Mi or more"),
        (-1, "'-1': a quantity cannot be negative; use 0 or more"),
        ("9" * 500, "longer than 32 characters; use a suffix such as Mi or Gi"),
    ],
)
def test_says_what_to_write_instead(text: str | int, message: str) -> None:
    with pytest.raises(ValueError, match="; ") as refusal:
        parse_quantity(text)
    assert message in str(refusal.value)
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0"),
        (1000, "1k"),
        (1024, "1Ki"),
        (1500000, "1500k"),
        (2**20 + 512, "1024.5Ki"),
        (2**20 + 1, "1048.577k"),
        (2**26 - 1, "67108.863k"),
        (2**26, "64Mi"),
        (128 * 2**20, "128Mi"),
        (512 * 2**20, "512Mi"),
        (3 * 2**29, "1.5Gi"),
        (2**30 + 2**20, "1025Mi"),
        (2**30 + 1, "1073741825"),
        (2**62, "4Ei"),
    ],
)
def test_writes_the_shortest_exact_form(size: int, text: str) -> None:
    assert format_quantity(size) == text


def test_does_not_write_a_negative_size() -> None:
    with pytest.raises(ValueError, match="cannot be negative"):
        format_quantity(-1)


@given(st.just(0) | st.integers(2**20, 2**26) | st.integers(2**20, 2**62))
def test_every_size_survives_writing_and_reading(size: int) -> None:
    assert parse_quantity(format_quantity(size)) == size


@given(st.integers(2**10, 2**40), st.sampled_from(["Ki", "Mi"]), st.integers(0, 9))
def test_parts_of_a_byte_count_as_one(whole: int, suffix: str, tenth: int) -> None:
    tenths = (whole * 10 + tenth) * {"Ki": 2**10, "Mi": 2**20}[suffix]
    assert parse_quantity(f"{whole}.{tenth}{suffix}") == -(-tenths // 10)


@pytest.mark.parametrize(
    "text", ["67108864.0000000001", "67108864.1", "67108864.000000001", "67108864001m", "67108864000000001n"]
)
def test_the_smallest_part_of_a_byte_counts_as_one(text: str) -> None:
    assert parse_quantity(text) == 2**26 + 1


@given(st.one_of(st.text(max_size=40), st.from_regex(r"[0-9.]{1,8}[A-Za-z0-9]{0,4}", fullmatch=True)))
def test_any_text_is_a_size_in_range_or_refused(text: str) -> None:
    try:
        size = parse_quantity(text)
    except ValueError:
        return
    assert size == 0 or 2**20 <= size <= 2**62


@pytest.mark.parametrize(("text", "size"), [("1Ki", 2**10), ("64k", 64000), ("1024Ki", 2**20), ("0", 0)])
def test_where_less_can_be_meant_it_is_taken_with_its_unit(text: str, size: int) -> None:
    assert parse_quantity(text, 2**10, 2**20) == size


@pytest.mark.parametrize("text", ["1", "1023", "2000", "1000000", 4096])
def test_without_a_unit_it_is_not_even_there(text: str | int) -> None:
    with pytest.raises(ValueError, match="A number without a suffix is bytes"):
        parse_quantity(text, 2**10, 2**20)
