"""YAML text to plain data that remembers where everything stood.

Plain values mean what they mean to `kubectl`, which reads YAML 1.1 (`on` is a boolean, times stay text).
Where that surprises people (`012` is ten) the value is refused, so that a policy means the same to its reader
and to the cluster. Aliases are refused: a policy needs none, and they can make a small file huge.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import yaml

from controller.api.problems import InvalidValueError, Path, Problem, dotted

MAXIMUM_SIZE = 2**18
"""Bytes. A policy is a few hundred bytes; reading this much YAML takes seconds, and nothing else goes on meanwhile."""
_MAXIMUM_DEPTH = 64
"""Levels. A policy has seven, `metadata.managedFields` some more; far below what recursion bears."""
_NUMBER_LIMIT = 2**63
"""Kubernetes' integers have 64 bits with a sign."""
_LONGEST_NUMBER = 20
"""Characters of the longest such integer, sign included."""

_PREFIX = "tag:yaml.org,2002:"
_INTEGER = r"[-+]?(?:0[bB][01_]+|0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|[0-9][0-9_]*)"
_EXPONENT = r"[0-9]+[eE]\+?[0-9]{1,2}"
"""`1e9`: kubectl hands a whole number on as an integer."""
_FLOAT = (
    r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?|"
    r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_PLAIN = {
    "null": r"~|null|Null|NULL|",
    "bool": (
        r"y|Y|yes|Yes|YES|on|On|ON|true|True|TRUE|"
        r"n|N|no|No|NO|off|Off|OFF|false|False|FALSE"
    ),
    "int": rf"{_INTEGER}|{_EXPONENT}",
    "float": _FLOAT,
}
"""What a plain value must look like to be more than text, the first that fits."""


class _Loader(yaml.SafeLoader):
    """Composes nodes only; kubectl's idea of plain values; no aliases; bounded depth."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - the shape that PyYAML's base class prescribes
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise self._limit("a YAML alias, which policies do not use", "write the value out")
        if self.depth == _MAXIMUM_DEPTH:
            raise self._limit(f"nested deeper than {_MAXIMUM_DEPTH} levels", "remove the nesting")
        self.depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def _limit(self, problem: str, remedy: str) -> yaml.MarkedYAMLError:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs lack its type
        mark = cast(yaml.Mark, event.start_mark)  # the other kind of mark is the C loader's
        return yaml.MarkedYAMLError(problem=problem, problem_mark=mark, note=remedy)


for _kind, _shape in _PLAIN.items():
    _Loader.add_implicit_resolver(_PREFIX + _kind, re.compile(rf"(?:{_shape})\Z"), None)


@dataclass(slots=True)
class Document:
    """One YAML document as plain data: dict, list, str, int, float, bool and None."""

    source: str
    line: int
    """Where the document begins, from 1."""
    data: object = None
    lines: dict[Path, int] = field(default_factory=dict)
    """Line of every field and list item."""
    written: dict[Path, str] = field(default_factory=dict)
    """Every single value as it is written."""
    problems: list[Problem] = field(default_factory=list)
    refused: set[Path] = field(default_factory=set)
    """Values that `problems` already complains about."""

    def problem(self, path: Path, message: str, remedy: str, value: str = "") -> Problem:
        """A problem at the line of the path, or of the nearest thing around it."""
        at = next((path[:n] for n in range(len(path), 0, -1) if path[:n] in self.lines), ())
        line = self.lines.get(at, self.line)
        return Problem(self.source, line, dotted(path), self.written.get(path, value), message, remedy)

    def refuse(self, path: Path, error: InvalidValueError) -> None:
        """Note a problem with the value at the path; nothing more needs saying about it."""
        self.problems.append(self.problem(path, error.message, error.remedy, error.value))
        self.refused.add(path)


def read(text: str, source: str) -> Iterator[Document]:
    """All documents of a text. Where it stops being YAML, the last is nothing but a problem."""
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = "not valid YAML: a character that does not print"
        yield _unreadable(source, line, message, "remove it, or escape it in quotes")
        return
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                yield _document(node, source)
    except yaml.MarkedYAMLError as error:
        yield _unreadable(source, _line(error.problem_mark or error.context_mark, loader), *_words(error))
    except (ValueError, OverflowError):
        # PyYAML lets these out of escapes and version numbers that are out of range.
        message = "not valid YAML: a number out of range"
        yield _unreadable(source, loader.line + 1, message, "correct the escape")


def _line(mark: yaml.Mark | None, loader: _Loader) -> int:
    return (mark.line if mark else loader.line) + 1


def _unreadable(source: str, line: int, message: str, remedy: str) -> Document:
    return Document(source, line, problems=[Problem(source, line, "", "", message, remedy)])


def _words(error: yaml.MarkedYAMLError) -> tuple[str, str]:
    """Message and remedy for a text that the parser could not follow."""
    problem = " ".join(str(part) for part in (error.problem, error.context) if part)
    if error.note:
        return problem, error.note
    if "'\\t'" in problem:
        remedy = "indent with spaces, not tabs"
    else:
        remedy = "check indentation, colons, quotes and brackets at and above this line"
    return f"not valid YAML: {problem}", remedy


def _document(node: yaml.Node, source: str) -> Document:
    document = Document(source, node.start_mark.line + 1)
    document.data = _value(node, (), document)
    return document


def _value(node: yaml.Node, path: Path, document: Document) -> object:
    document.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode) and node.tag == _PREFIX + "map":
        return _mapping(node, path, document)
    if isinstance(node, yaml.SequenceNode) and node.tag == _PREFIX + "seq":
        return [_value(item, (*path, position), document) for position, item in enumerate(node.value)]
    try:
        return _scalar(node, path, document)
    except InvalidValueError as error:
        document.refuse(path, error)
        return None


def _mapping(node: yaml.MappingNode, path: Path, document: Document) -> dict[str, object]:
    mapping: dict[str, object] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        try:
            key = _key(key_node)
        except InvalidValueError as error:
            place = Problem(document.source, line, dotted(path), error.value, error.message, error.remedy)
            document.problems.append(place)
            continue
        inner = (*path, key)
        if key in mapping:
            first = document.lines[inner]
            words = (f"given twice, first at line {first}", "keep one of the two")
            document.problems.append(Problem(document.source, line, dotted(inner), "", *words))
            continue
        document.lines[inner] = line
        mapping[key] = _value(value_node, inner, document)
    return mapping


def _key(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise InvalidValueError("", "a list or mapping as the name of a field", "write fields as name: value")
    if node.tag != _PREFIX + "str":
        message = "the name of a field must be text, and YAML reads this as another type"
        raise InvalidValueError(node.value, message, "put it in quotes")
    return _text(node.value)


def _scalar(node: yaml.Node, path: Path, document: Document) -> object:
    kind = node.tag.removeprefix(_PREFIX)
    if not isinstance(node, yaml.ScalarNode) or (kind != "str" and not _fits(kind, node.value)):
        raise InvalidValueError(node.tag, "a YAML tag that policies do not use", "remove it")
    text = _text(node.value)
    document.written[path] = text
    match kind:
        case "null":
            return None
        case "bool":
            return text[0] in "yYtT" or text.lower() == "on"
        case "int":
            return _integer(text)
        case "float":
            return _number(text)
        case _:
            return text


def _fits(kind: str, text: str) -> bool:
    """False for an explicit tag (`!!int abc`) that the value does not bear, and for tags of other schemas."""
    return kind in _PLAIN and re.fullmatch(_PLAIN[kind], text) is not None


def _text(text: str) -> str:
    """Text that can be sent and stored; an escape can make half of a surrogate pair."""
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidValueError(text, "not Unicode text: half of a surrogate pair", "correct the escape")
    return text


def _integer(text: str) -> int:
    """The number that Kubernetes would read, which has to be the one that a person reads."""
    if len(text) > _LONGEST_NUMBER:
        raise _too_large(text)
    if re.fullmatch(_EXPONENT, text):
        digits, power = text.lower().split("e")
        number: int = int(digits) * 10 ** int(power)
    elif re.fullmatch(r"-?(?:0|[1-9][0-9]*)", text):
        number = int(text)
    else:
        raise InvalidValueError(
            text,
            "a number in a notation that readers of YAML disagree on",
            "write a plain decimal number, or put it in quotes where text is meant",
        )
    if abs(number) >= _NUMBER_LIMIT:
        raise _too_large(text)
    return number


def _number(text: str) -> float | int:
    """A number with a point; kubectl hands one without a fraction on as an integer."""
    number = float(text.lower().replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
    return int(number) if number.is_integer() and abs(number) < _NUMBER_LIMIT else number


def _too_large(text: str) -> InvalidValueError:
    remedy = "use a smaller number, or put it in quotes where text is meant"
    return InvalidValueError(text, "larger than any integer of Kubernetes", remedy)
