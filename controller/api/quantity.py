"""Kubernetes quantities of memory: text such as `512Mi` to whole bytes, and back."""

import re
from fractions import Fraction
from math import ceil

from controller.api.problems import InvalidValueError

_BINARY = {"": 0, "Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
"""Suffix to power of 1024."""
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
"""Suffix to power of 10."""
_LARGEST = 2**62
"""Bytes; 4 EiB. Leaves room to add two quantities in 64 bits."""
SMALLEST = 2**20
"""Bytes; 1 MiB. A balloon moves by no less, so a smaller size of memory is one whose unit was forgotten."""
SMALLEST_BARE = 64 * 2**20
"""Bytes that a size without a unit is at least; no guest lives on less. Who writes libvirt's KiB means 1024 times as
much."""
_LONGEST = 32
"""Characters; every size up to the largest fits twice."""
_PLACES = 3
"""Decimal places of a quantity that is written; more are hard to read."""

_QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))"
    r"(?P<suffix>[KMGTPE]i|[numkMGTPE]|[eE](?P<exponent>[+-]?0*[0-9]{1,2})|)"
)
_NEARLY = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<letter>[kmgtpe])(?P<rest>i?b?)", re.IGNORECASE)
"""What people write out of habit: `512MB`, `2 GiB`, `1g`."""
_USAGE = "use a number with Ki, Mi, Gi, Ti, k, M, G or T behind it, or bytes without a suffix, such as 512Mi"


def parse_quantity(value: str | int, least: int = SMALLEST, least_bare: int = SMALLEST_BARE) -> int:
    """Bytes of a quantity: text in Kubernetes' notation, or an integer, which means bytes.

    Parts of a byte count as one. Raises InvalidValueError (a ValueError) for anything else, for exponents beyond 99,
    below 0, and above 2**62 bytes. Refused as well is what nobody means: more than 0, but less than `least` bytes, or
    less than `least_bare` without a unit, of which `m`, `u` and `n` are none. As it is without these two, the CRD takes
    exactly the same. The notation: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidValueError(value, "not a quantity", _USAGE)
    exact = Fraction(value) if isinstance(value, int) else _parse_text(value)
    size = ceil(exact)
    if exact < 0:
        raise InvalidValueError(value, "a quantity cannot be negative", "use 0 or more")
    if size > _LARGEST:
        raise InvalidValueError(value, "more than 2^62 bytes", "use at most 4Ei")
    bare = isinstance(value, int) or not re.search(r"[KMGTPEk]i?\Z", value)
    if 0 < exact < (max(least, least_bare) if bare else least):
        words = f"{size} byte{'s' * (size != 1)}, less than any size that is meant"
        raise InvalidValueError(
            value, words, _with_unit(value, size) if bare else f"use {format_quantity(least)} or more"
        )
    return size


def _with_unit(value: str | int, size: int) -> str:
    """A remedy for a number whose unit was forgotten or is CPUs': people count in GiB and MiB, libvirt in KiB."""
    meant = re.fullmatch(r"([0-9.]+)m", str(value))
    if meant:
        return f"{meant[1]}Mi? Suffix m is a thousandth of a byte"
    unit = "Gi" if size <= 64 else "Mi" if size < 2**16 else "Ki"
    return f"{size}{unit}? A number without a suffix is bytes"


def _parse_text(text: str) -> Fraction:
    """Bytes, exactly."""
    if len(text) > _LONGEST:
        raise InvalidValueError(text, f"longer than {_LONGEST} characters", "use a suffix such as Mi or Gi")
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise InvalidValueError(text, "not a quantity", _nearly(text))
    return Fraction(match["number"]) * _factor(match)


def _factor(match: re.Match[str]) -> Fraction:
    """What the suffix multiplies with."""
    if match["exponent"] is not None:
        return Fraction(10) ** int(match["exponent"])
    suffix = match["suffix"]
    return Fraction(1024) ** _BINARY[suffix] if suffix in _BINARY else Fraction(10) ** _DECIMAL[suffix]


def _nearly(text: str) -> str:
    """A remedy that spells out what was probably meant."""
    match = _NEARLY.fullmatch(text)
    if match is None:
        return _USAGE
    number, letter = match["number"], match["letter"].upper()
    binary = f"use {number}{letter}i"
    if "i" in match["rest"].lower():
        return binary
    return f"{binary} (powers of 1024) or {number}{'k' if letter == 'K' else letter} (powers of 1000)"


def format_quantity(size: int) -> str:
    """The shortest exact form of a size in bytes that can be read again, binary if possible: `512Mi`, `1.5Gi`. A tie
    goes to whole numbers.
    """
    if size < 0:
        raise InvalidValueError(size, "a quantity cannot be negative", "use 0 or more")
    bare = not 0 < size < SMALLEST_BARE
    forms = [_scaled(size, 1024**power) + suffix for suffix, power in _BINARY.items() if suffix or bare]
    forms = [form for form in forms if len(form.partition(".")[2].rstrip("KMGTPEi")) <= _PLACES]
    return min(forms or [f"{_scaled(size, 1000)}k"], key=lambda form: (len(form), "." in form))


def _scaled(size: int, unit: int) -> str:
    """`size / unit` exactly; a power of 1024 has as many decimal places as it has binary digits, one of 1000 fewer."""
    whole, rest = divmod(size, unit)
    if not rest:
        return str(whole)
    places = unit.bit_length() - 1
    return f"{whole}.{rest * 10**places // unit:0{places}d}".rstrip("0")
