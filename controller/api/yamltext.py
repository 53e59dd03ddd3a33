"""YAML text to plain data that remembers where everything stood.

Plain values mean what they mean to `kubectl`, which reads YAML 1.1 (`on` is a boolean, times stay text).
Where that surprises people (`012` is ten) the value is refused, so that a policy means the same to its reader
and to the cluster. Aliases are refused: a policy needs none, and they can make a small file huge.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import yaml
from yaml._yaml import CParser
from yaml.resolver import BaseResolver

from controller.api.problems import InvalidValueError, Path, Problem, dotted

MAXIMUM_SIZE = 2**18
"""Bytes. A policy is a few hundred bytes."""
MAXIMUM_NODES = 5_000
"""Names and values in one text: some 200 ordinary policies, read in a twentieth of a second."""
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


class _Loader(CParser, BaseResolver):
    """Nodes out of libyaml's events; kubectl's idea of plain values; no aliases; bounded in depth and number.

    libyaml is what go-yaml, and so kubectl, was ported from, and twenty times as fast as PyYAML's own parser.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012 - the shape that PyYAML's base class prescribes

    def __init__(self, text: str) -> None:
        CParser.__init__(self, text)
        BaseResolver.__init__(self)
        self.line = 0
        """Of the event taken last, from 0."""
        self._nodes = 0

    def documents(self) -> Iterator[yaml.Node]:
        """The top node of each. Raises YAMLError."""
        self._take()  # the stream's start
        while not isinstance(self._take(), yaml.StreamEndEvent):  # else a document's start
            yield self._composed(self._take(), 0)
            self._take()  # the document's end

    def _take(self) -> yaml.Event:
        event = self.get_event()
        assert event is not None
        self.line = _of(event).line
        return event

    def _composed(self, event: yaml.Event, depth: int) -> yaml.Node:
        self._nodes += 1
        if isinstance(event, yaml.AliasEvent):
            raise _limit(event, "a YAML alias, which policies do not use", "write the value out")
        if depth == _MAXIMUM_DEPTH:
            raise _limit(event, f"nested deeper than {_MAXIMUM_DEPTH} levels", "remove the nesting")
        if self._nodes > MAXIMUM_NODES:
            raise _limit(event, f"more than {MAXIMUM_NODES} names and values in one file", "split it")
        if isinstance(event, yaml.SequenceStartEvent):
            return yaml.SequenceNode(self._tag(yaml.SequenceNode, event), self._items(depth), _of(event))
        if isinstance(event, yaml.MappingStartEvent):
            items = self._items(depth)
            pairs = list(zip(items[::2], items[1::2], strict=True))
            return yaml.MappingNode(self._tag(yaml.MappingNode, event), pairs, _of(event))
        assert isinstance(event, yaml.ScalarEvent)
        return yaml.ScalarNode(self._tag(yaml.ScalarNode, event), event.value, _of(event))

    def _items(self, depth: int) -> list[yaml.Node]:
        """All nodes until the end of the collection: of a mapping, names and values by turns."""
        items = []
        while not isinstance(event := self._take(), yaml.CollectionEndEvent):
            items.append(self._composed(event, depth + 1))
        return items

    def _tag(self, kind: type[yaml.Node], event: Any) -> str:
        value = event.value if kind is yaml.ScalarNode else None
        if event.tag not in {None, "!"}:
            return str(event.tag)
        return str(self.resolve(kind, value, event.implicit))  # type: ignore[no-untyped-call]  # as above


def _of(event: yaml.Event) -> yaml.Mark:
    """Where it begins; libyaml's marks have line and column as well."""
    return cast(yaml.Mark, event.start_mark)


def _limit(event: yaml.Event, problem: str, remedy: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=_of(event), note=remedy)


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
        encoded = text.encode()
    except UnicodeEncodeError as error:
        yield _unprintable(source, text.count("\n", 0, error.start))
        return
    loader = _Loader(text)
    try:
        for node in loader.documents():
            yield _document(node, source)
    except yaml.MarkedYAMLError as error:
        last = text.count("\n") + 1  # libyaml ends a text that has no line break with one
        line = min(_line(error.problem_mark or error.context_mark, loader), last)
        yield _unreadable(source, line, *_words(error))
    except yaml.reader.ReaderError as error:
        yield _unprintable(source, encoded.count(b"\n", 0, error.position))


def _line(mark: yaml.Mark | None, loader: _Loader) -> int:
    return (mark.line if mark else loader.line) + 1


def _unprintable(source: str, line: int) -> Document:
    message = "not valid YAML: a character that does not print"
    return _unreadable(source, line + 1, message, "remove it, or escape it in quotes")


def _unreadable(source: str, line: int, message: str, remedy: str) -> Document:
    return Document(source, line, problems=[Problem(source, line, "", "", message, remedy)])


_REMEDIES = {
    "tab character": "indent with spaces, not tabs",
    "escape code": "correct the escape",
}
"""By a part of libyaml's words."""


def _words(error: yaml.MarkedYAMLError) -> tuple[str, str]:
    """Message and remedy for a text that the parser could not follow."""
    problem = " ".join(str(part) for part in (error.problem, error.context) if part)
    if error.note:
        return problem, error.note
    general = "check indentation, colons, quotes and brackets at and above this line"
    remedy = next((remedy for words, remedy in _REMEDIES.items() if words in problem), general)
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
            document.refused.add(path)
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
    return str(node.value)


def _scalar(node: yaml.Node, path: Path, document: Document) -> object:
    kind = node.tag.removeprefix(_PREFIX)
    if not isinstance(node, yaml.ScalarNode) or (kind != "str" and not _fits(kind, node.value)):
        raise InvalidValueError(node.tag, "a YAML tag that policies do not use", "remove it")
    text = str(node.value)
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
