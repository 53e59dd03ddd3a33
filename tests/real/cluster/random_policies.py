"""Policies by chance, valid and not: every field, every bound and its neighbours, every wrong type, and odd text.

What is generated follows the model's fields only, not its checks, so neither side of a comparison is favoured. There
is no 5.0: kubectl and the reader of policy files make 5 of it, and the API server takes it only where no rule reads it.
"""

import random
import string
from collections.abc import Iterator
from typing import Any

from pydantic.alias_generators import to_camel

from controller.api import policy
from controller.api.policy import Spec

SPEC = Spec.model_json_schema()
BLOCKS = {to_camel(name): block.kind for name, block in policy.BLOCKS.items()}
"""Which type each block of `spec.advanced.model` belongs to."""

ODD = 0.004
"""Chance that a place holds something of another kind: so small that about half of all policies are valid, and most of
the others have one fault, which another one cannot hide."""
LONG = 0.03
"""Chance that a list or a map is about as long as it may be."""
ANYTHING = (None, True, False, 0, 1, -1, 1.5, 2**63, 1e30, "", "text", "5", [], [None], {}, {"a": None})
SUFFIXES = (
    *("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "k", "M", "G", "T", "P", "E", "e0", "e3", "E9", "e18", "e19", "e99"),
    *("m", "u", "n", "e-1", "E-3", "e+8", "e008", "e-99", "e+0009"),
)
WRONG_SUFFIXES = ("K", "mi", "MB", "MiB", "e", "e+", "e100", "e-100", "e1.5", "i", "B", "Zi", "ki", " Mi", "Mi ", "\n")
LABELS = ("", "a", "A-1", "a_b.c", "x" * 63, "x" * 64, "-a", "a-", "ä", "a b", "a\n", "_")
KEYS = (
    *(
        "tier",
        "example.org/tier",
        "a.b-c.d/A_b",
        "A",
        "1",
        "kubernetes.io/os",
        f"{'x' * 253}/tier",
        f"{'x' * 254}/tier",
    ),
    *("", "/", "a/", "/a", "a/b/c", "A.org/tier", "a..b/c", "-a/b", "x" * 63, "x" * 64, "ä", "tier\n", f"a/{'x' * 63}"),
    f"{'.'.join(['x' * 63] * 4)}/{'x' * 63}",
)
GLOBS = ("*", "db-*", "[abc]?", "ä", "🐘", "a\n", " ", "\t", "x" * 253, "x" * 254, "🐘" * 253, "🐘" * 254, "", "\0")
UUIDS = (
    "1b4e28ba-2fa1-11d2-883f-0016d3cca427",
    "1B4E28BA-2FA1-11D2-883F-0016D3CCA427",
    "1b4e28ba2fa111d2883f0016d3cca427",
    "1b4e28ba-2fa1-11d2-883f-0016d3cca427\n",
    "",
)
USUAL = ("128Mi", "512Mi", "1Gi", "1.5Gi", "1536Mi", "2G", 2**30, "2147483648", "3e9")
QUANTITIES = (
    *(0, 1, 2**62 - 1, 2**62, 2**62 + 1, 2**63 - 1, 2**63, 2**64, -1, 0.5),
    *(
        2**20,
        2**26 - 1,
        2**26,
        "1048576",
        "67108863",
        "67108864",
        "67108864.000",
        "6e7",
        "7E7",
        "65535Ki",
        "67108.863k",
        "1023Ki",
        "1024Ki",
        "0.5Mi",
        "1048k",
        "1049k",
        "1e5",
        "0Ki",
    ),
    *("4Ei", "4.000Ei", "4.001Ei", "4096Pi", "4097Pi", "4611686018427387904", "4611686018427387905"),
    *("9223372036854775807", "9223372036854775808", "18446744073709551616", "9" * 32, "9" * 33, "0" * 32, "0" * 33),
    *("4.611686018427387904E", "4.611E", "4611686018427387.904k", "4611686018427387.905k", "1e19", "5e18", "0e99"),
    *(
        "1.2Gi",
        "0.1Gi",
        "1.0625Gi",
        "1500m",
        "67108864000m",
        "67108863999m",
        "67108863.9999999999",
        "68719476736000001u",
    ),
    *("1.5e9", "1.5e8", "0.0000", "4.0000000000000000001Ei", "4611686018427387903.5", "4611686018427387904.5"),
    *("+1Gi", "-1Gi", "-0Gi", "+0", "-0.0", "-1e-99", "+", "-", "+-1Gi", "-.5Mi"),
    *("+1", "-1", "-0", "1,5Gi", "0x10", "1_000", "NaN", "Inf", ".", ".Mi", "1.Mi", ".5Mi", "5.", "٣Mi", "²", "1 Mi"),
)


NODE_COUNTS = (
    *(1, 2, 10, 999, 1000, "1%", "10%", "100%", 0, -1, 1001, 1.5, 2**63, "0%", "00%", "01%", "101%", "1000%", "%"),
    *("10", "10 %", "+10%", "-1%", "1.5%", "10%\n", " 10%", "\N{FULLWIDTH DIGIT ONE}%", "ten%", "10%%"),
)
"""Of a rollout."""


def part_of(schema: dict[str, Any]) -> dict[str, Any] | None:
    """The schema of the object that a field holds; None where it holds something else."""
    reference = next((each["$ref"] for each in (schema, *schema.get("anyOf", ())) if "$ref" in each), None)
    part: dict[str, Any] | None = None if reference is None else SPEC["$defs"][reference.rpartition("/")[2]]
    return part


def random_policies(seed: int) -> Iterator[dict[str, Any]]:
    """An endless row of policies, the same for the same seed."""
    chance = _Chance(seed)
    while True:
        yield chance.policy()


class _Chance:
    """Draws the parts of policies."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - no secret

    def policy(self) -> dict[str, Any]:
        """The next policy, as it would be sent."""
        policy = {"apiVersion": "ballast.dev/v1alpha1", "kind": "MemoryPolicy", "metadata": {"name": self._name()}}
        if self._chance(0.98):
            policy["spec"] = self._part(SPEC)
        if self._chance(0.05):
            policy["metadata"]["labels"] = {self._one(KEYS): self._one(LABELS)}
        return policy

    def _name(self) -> str:
        usual = self._chance(0.97)
        return "example" if usual else self._one(("a", "a.b-c", "x" * 253, "x" * 254, "x" * 64, "A", "a_b", "a.", "é"))

    def _part(self, schema: dict[str, Any]) -> object:
        """An object with some of its fields; now and then with one that does not exist."""
        if self._odd():
            return self._one(ANYTHING)
        chances = dict.fromkeys(schema["properties"], 0.35) | dict.fromkeys(schema.get("required", []), 1.0)
        if schema is SPEC:
            chances["advanced"] = 0.9  # parts of it are as likely as those of the spec
        names = [name for name, chance in chances.items() if self._chance(chance)]
        part = {name: self._field(name, schema["properties"][name]) for name in names}
        if schema is SPEC["$defs"]["ForecastModel"] and self._chance(0.97):
            own = part.get("type", "WLS")
            part = {name: each for name, each in part.items() if BLOCKS.get(name, own) == own}
        if self._chance(ODD / 6):
            part[self._one(("extra", "Mode", "node_selector", "percents", ""))] = self._one(ANYTHING)
        if self._chance(ODD) and part:
            del part[self._one(tuple(part))]
        return part

    def _field(self, name: str, schema: dict[str, Any]) -> object:
        if self._odd():
            return self._one(ANYTHING)
        if name in ("quantity", "reserve", "minimum", "maximum"):
            return self._quantity()
        if name == "maximumNodes":
            return self._one(NODE_COUNTS[:8]) if self._chance(0.96) else self._one(NODE_COUNTS)
        inner = part_of(schema)
        if inner is not None:
            return self._part(inner)
        return self._leaf(name, schema)

    def _leaf(self, name: str, schema: dict[str, Any]) -> object:
        match schema:
            case {"enum": values}:
                return self._one((*values * 40, values[0].lower(), f"{values[0]} "))
            case {"type": "boolean"}:
                return self._one((True, False))
            case {"minimum": least, "maximum": most}:
                return self._integer(least, most)
            case {"type": "array", "maxItems": most}:
                least = 0 if name == "values" else 1
                return [self._item(name) for _ in range(self._length(least, most))]
            case {"type": "object", "maxProperties": most}:
                return self._map(most)
            case _:
                return self._one(KEYS)

    def _integer(self, least: int, most: int) -> object:
        near = (least, most, most - 0.5, least - 1, most + 1)
        return self._random.randint(least, most) if self._chance(0.96) else self._one(near)

    def _quantity(self) -> object:
        if self._chance(0.7):
            return self._one(USUAL)
        if self._chance(0.3):
            return self._one(QUANTITIES)
        whole = "".join(self._random.choices(string.digits, k=self._random.randint(0, 5)))
        places = "".join(self._random.choices("0255", k=self._random.randint(0, 4)))
        point = "." if places and self._chance(0.3) else ""
        return f"{whole}{point}{places}{self._one(SUFFIXES if self._chance(0.9) else WRONG_SUFFIXES)}"

    def _item(self, name: str) -> object:
        if self._odd():
            return self._one(ANYTHING)
        match name:
            case "matchExpressions":
                return self._part(SPEC["$defs"]["Expression"])
            case "names":
                return self._mostly("web-*", GLOBS)
            case "uuids":
                return self._mostly(UUIDS[0], UUIDS)
            case _:
                return self._mostly("gold", LABELS)

    def _map(self, most: int) -> dict[str, object]:
        length = self._length(1, most)
        filled: dict[str, object] = {f"key-{index}": "value" for index in range(length)}
        if length and self._chance(0.3):
            del filled["key-0"]
            filled[self._one(KEYS)] = self._one(ANYTHING) if self._odd() else self._mostly("value", LABELS)
        return filled

    def _length(self, least: int, most: int) -> int:
        """Mostly few, rarely as many as may be, and now and then none."""
        if self._odd():
            return 0
        return self._random.randint(most - 1, most + 1) if self._chance(LONG) else self._random.randint(least, 2)

    def _mostly(self, usual: str, others: tuple[str, ...]) -> str:
        return usual if self._chance(0.9) else self._one(others)

    def _odd(self) -> bool:
        return self._chance(ODD)

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def _one(self, values: tuple[Any, ...]) -> Any:
        return self._random.choice(values)
