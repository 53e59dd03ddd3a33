"""Which nodes and domains a policy is for. Pure."""

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import accumulate
from typing import NamedTuple, TypeVar

from controller.api.policy import DomainSelector, Expression, LabelSelector, NodeSelector, Selectors

_Key = TypeVar("_Key", bound=Hashable)


def matches_node(selector: NodeSelector, name: str, labels: Mapping[str, str]) -> bool:
    """True when every field that is not empty matches the node; so an empty selector matches every node."""
    return (
        (not selector.names or any(_fits(glob, name) for glob in selector.names))
        and selector.match_labels.items() <= labels.items()
        and all(_holds(expression, labels) for expression in selector.match_expressions)
    )


class SelectorSubject(NamedTuple):
    """A domain as selectors see it."""

    name: str
    uuid: str = ""
    labels: Mapping[str, str] = {}
    """Of its metadata."""
    pod_labels: Mapping[str, str] | None = None
    """Of the pod that it runs in; None: it runs in none."""
    namespace_labels: Mapping[str, str] = {}
    """Of that pod's namespace."""


class _Labels:
    """Which domains have which labels, by row. One for which there are none to have (None) is never selected."""

    def __init__(self, labels: Sequence[Mapping[str, str] | None]) -> None:
        self._every = {row for row, own in enumerate(labels) if own is not None}
        pairs = [(label, row) for row, own in enumerate(labels) for label in (own or {}).items()]
        self._by_label = _rows(iter(pairs))
        self._by_key = _rows((key, row) for (key, _), row in pairs)

    def selected(self, selector: LabelSelector) -> set[int]:
        """Rows for which every label and every expression holds."""
        rows = set(self._every)
        for label in selector.match_labels.items():
            rows &= self._by_label.get(label, set())
        for expression in selector.match_expressions:
            rows = self._holding(expression, rows)
        return rows

    def _holding(self, expression: Expression, rows: set[int]) -> set[int]:
        """Those of the rows for which the expression holds; the same as `_holds` of each."""
        if expression.operator in ("Exists", "DoesNotExist"):
            found = self._by_key.get(expression.key, set())
        else:
            found = set().union(*(self._by_label.get((expression.key, value), set()) for value in expression.values))
        return rows & found if expression.operator in ("In", "Exists") else rows - found


class SelectorSubjects:
    """Domains that selectors are asked about, many times each: indexed, so that no selector goes through all of them.

    A glob is looked up by the letters before its first wildcard. The regular expression of a glob, which takes a
    thousand times as long to make as to ask, is only made for names that have all of the glob's letters.
    """

    def __init__(self, domains: Sequence[SelectorSubject]) -> None:
        self._by_uuid = _rows((domain.uuid, row) for row, domain in enumerate(domains))
        self._metadata = _Labels([domain.labels for domain in domains])
        self._pods = _Labels([domain.pod_labels for domain in domains])
        namespaces = [None if domain.pod_labels is None else domain.namespace_labels for domain in domains]
        self._namespaces = _Labels(namespaces)
        self._order = sorted(range(len(domains)), key=lambda row: domains[row].name)
        self._names = [domains[row].name for row in self._order]
        self._text = "\n".join(self._names)
        self._ends = list(accumulate(len(name) + 1 for name in self._names))
        """Where in the text each name has ended."""
        self._known: dict[str, Sequence[int]] = {}

    def selected(self, selector: DomainSelector, selectors: Selectors | None = None) -> Sequence[int]:
        """Places, in order, of the domains that every field that is not empty matches; all, if all fields are empty.

        With `selectors` none but domains of pods: of these, those that its label selectors match as well.
        """
        wanted = []
        if selector.match_labels or selector.match_expressions:
            wanted.append(self._metadata.selected(selector))
        if selector.names:
            wanted.append(set().union(*map(self._matching, selector.names)))
        if selector.uuids:
            wanted.append(set().union(*(self._by_uuid.get(uuid, set()) for uuid in selector.uuids)))
        if selectors is not None:
            wanted.append(self._pods.selected(selectors.virtual_machine_instance_selector or LabelSelector()))
            wanted.append(self._namespaces.selected(selectors.namespace_selector or LabelSelector()))
        return sorted(set.intersection(*wanted)) if wanted else range(len(self._order))

    def _matching(self, glob: str) -> Sequence[int]:
        """Domains whose names match the glob; policies often share one."""
        if glob not in self._known:
            self._known[glob] = self._find(glob)
        return self._known[glob]

    def _find(self, glob: str) -> Sequence[int]:
        letters = _WILDCARDS.split(glob)
        first, last, longest = letters[0], letters[-1], max(letters, key=len)
        begin = bisect_left(self._names, first)
        end = bisect_right(self._names, first, begin, key=lambda name: name[: len(first)])
        if len(letters) == 1:
            return self._order[begin : bisect_right(self._names, glob, begin)]
        if not searches(glob):
            return self._order[begin:end]
        places = range(begin, end) if longest == first else self._containing(longest)
        likely = [place for place in places if self._names[place].endswith(last)]
        return [self._order[place] for place in likely if self._matches(glob, letters, self._names[place])]

    @staticmethod
    def _matches(glob: str, letters: Sequence[str], name: str) -> bool:
        return all(each in name for each in letters) and fnmatchcase(name, glob)

    def _containing(self, letters: str) -> Iterator[int]:
        """Places of names in which the letters stand, and perhaps of some in which they do not."""
        found = self._text.find(letters)
        while found >= 0:
            place = bisect_right(self._ends, found)
            if place == len(self._names):
                return
            yield place
            found = self._text.find(letters, self._ends[place])


def searches(glob: str) -> bool:
    """Whether names have to be searched for the glob: it is neither a whole name nor the beginning of names."""
    return _WILDCARDS.search(glob.removesuffix("*")) is not None


def _fits(glob: str, name: str) -> bool:
    if searches(glob):
        return fnmatchcase(name, glob)
    return name.startswith(glob[:-1]) if glob.endswith("*") else name == glob


_WILDCARDS = re.compile(r"\*|\?|\[!?\]?[^\]]*\]")
"""As fnmatch knows them; a `[` that nothing closes is a letter."""


def _rows(pairs: Iterator[tuple[_Key, int]]) -> dict[_Key, set[int]]:
    found: defaultdict[_Key, set[int]] = defaultdict(set)
    for key, row in pairs:
        found[key].add(row)
    return dict(found)


def _holds(expression: Expression, labels: Mapping[str, str]) -> bool:
    """As in a Kubernetes LabelSelector: `NotIn` also holds where the label is absent."""
    value = labels.get(expression.key)
    match expression.operator:
        case "In":
            return value in expression.values
        case "NotIn":
            return value not in expression.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
