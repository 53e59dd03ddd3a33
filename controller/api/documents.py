"""Text of a policy file to policies, with every problem in it. Pure: reading files is left to the caller."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from pydantic import ValidationError

from controller.api.policy import OBJECT_META, MemoryPolicy
from controller.api.problems import InvalidValueError, Path, Problem
from controller.api.wording import explain, path_of, unknown_field
from controller.api.yamltext import MAXIMUM_SIZE, Document, read

__all__ = ["MAXIMUM_SIZE", "Loaded", "Problem", "clashes", "crowd", "load", "load_object"]

MAXIMUM_PROBLEMS = 100
"""More in one source are no help to anybody: it is another kind of file."""
MAXIMUM_VALUES = 20_000
"""In a spec or status; four selectors that are as large as they may be have 18,000. To say what is wrong with one takes
2 KB."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a text holds. With problems, the policies are those that are all right by themselves."""

    policies: tuple[MemoryPolicy, ...] = ()
    problems: tuple[Problem, ...] = ()
    lines: tuple[int, ...] = ()
    """Line of each policy's name, in the order of `policies`."""


def load(text: str | bytes, source: str) -> Loaded:
    """All policies of a YAML text of any number of documents, and all its problems. Never raises.

    `source` is the name that problems carry. Empty documents are let pass, so a text may hold
    no policy at all.
    """
    try:
        decoded = _decoded(text)
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return _refused(source, line, "not UTF-8 text", "save the file as UTF-8")
    except InvalidValueError as error:
        return _refused(source, None, error.message, error.remedy)
    policies: dict[str, tuple[MemoryPolicy, int]] = {}
    problems: list[Problem] = []
    for document in read(decoded, source):
        policy = _policy(document)
        if policy is not None:
            line = document.lines["metadata", "name"]
            _, first = policies.setdefault(policy.name, (policy, line))
            if first != line:
                document.problems.append(_namesake(policy.name, source, line, f"line {first}"))
        problems += sorted(document.problems, key=_by_line)
        if len(problems) > MAXIMUM_PROBLEMS:
            problems[MAXIMUM_PROBLEMS:] = [_more(problems[MAXIMUM_PROBLEMS])]
            break
    kept = policies.values()
    return Loaded(tuple(policy for policy, _ in kept), tuple(problems), tuple(line for _, line in kept))


def load_object(data: dict[str, object], source: str) -> Loaded:
    """As `load`, of one object that is plain data already, as the API server gives it. Its problems have no line."""
    if problem := crowd(data, "spec", source):
        return Loaded(problems=(problem,))
    document = Document(source, 0, data, written=dict(_scalars(data, ())))
    policy = _policy(document)
    problems = tuple(replace(problem, line=None) for problem in document.problems[:MAXIMUM_PROBLEMS])
    return Loaded((), problems) if policy is None else Loaded((policy,), problems, (0,))


def crowd(data: Mapping[str, object], part: str, source: str = "") -> Problem | None:
    """What is said of a part of an object that has too many values even to tell the problems of all; else None."""
    ahead, count = [data.get(part)], 0
    while ahead and count <= MAXIMUM_VALUES:
        inner = ahead.pop()
        parts = inner.values() if isinstance(inner, dict) else inner if isinstance(inner, list) else ()
        count += len(parts)
        ahead += islice(parts, MAXIMUM_VALUES)
    message = f"more than {MAXIMUM_VALUES} values"
    return Problem(source, None, part, "", message, "use fewer") if count > MAXIMUM_VALUES else None


def clashes(files: Mapping[str, Loaded]) -> tuple[Problem, ...]:
    """Policies that share their name with one of another file, the files taken in their order, by source."""
    first: dict[str, str] = {}
    problems: list[Problem] = []
    for source, loaded in files.items():
        for policy, line in zip(loaded.policies, loaded.lines, strict=True):
            place = first.setdefault(policy.name, f"{source}:{line}")
            if place != f"{source}:{line}":
                problems.append(_namesake(policy.name, source, line, place))
    return tuple(problems)


def _scalars(value: object, path: Path) -> Iterator[tuple[Path, str]]:
    """Every single value, as text, with where it stands."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _scalars(inner, (*path, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _scalars(inner, (*path, number))
    elif path:
        yield path, str(value)


def _more(problem: Problem) -> Problem:
    message = "more problems from here on"
    return Problem(problem.source, problem.line, "", "", message, "correct those above first")


def _namesake(name: str, source: str, line: int, place: str) -> Problem:
    message = f"another policy has this name, at {place}"
    return Problem(source, line, "metadata.name", name, message, "rename or remove one of the two")


def _by_line(problem: Problem) -> int:
    return problem.line or 0


def _refused(source: str, line: int | None, message: str, remedy: str) -> Loaded:
    return Loaded(problems=(Problem(source, line, "", "", message, remedy),))


def _decoded(text: str | bytes) -> str:
    """Text without a byte order mark, of a bounded size."""
    size = len(text) if isinstance(text, bytes) else len(text.encode(errors="surrogatepass"))
    if size > MAXIMUM_SIZE:
        raise InvalidValueError("", f"larger than {MAXIMUM_SIZE} bytes", "split it, if it is a policy file")
    decoded = text.decode() if isinstance(text, bytes) else text
    return decoded.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")


def _policy(document: Document) -> MemoryPolicy | None:
    """The policy in one document; None when it is empty or has problems, which are noted in the document."""
    data = document.data
    if data is None:
        return None
    if not isinstance(data, dict):
        remedy = "write one MemoryPolicy a document, with documents parted by '---'"
        document.problems.append(document.problem((), "not a MemoryPolicy", remedy))
    elif data.get("kind") in ("List", "MemoryPolicyList"):  # not a set: the value may be a list itself
        remedy = "write each of its items as a document of its own, parted by '---'"
        document.problems.append(document.problem(("kind",), "a list of resources, as kubectl prints it", remedy))
    elif data.get("kind", "MemoryPolicy") != "MemoryPolicy":
        remedy = "use MemoryPolicy here, and keep other resources in other files"
        document.problems.append(document.problem(("kind",), "not a MemoryPolicy", remedy))
    else:
        return _validated(data, document)
    return None


def _validated(data: dict[str, object], document: Document) -> MemoryPolicy | None:
    metadata = data.get("metadata")
    unknown = sorted(metadata.keys() - OBJECT_META) if isinstance(metadata, dict) else []
    for name in unknown[: MAXIMUM_PROBLEMS + 1]:
        path = ("metadata", name)
        document.problems.append(document.problem(path, *unknown_field(path, OBJECT_META, MemoryPolicy)))
    try:
        policy = MemoryPolicy.model_validate(data)
    except ValidationError as errors:
        document.problems += _problems(errors, document)
        return None
    return None if document.problems else policy


def _problems(errors: ValidationError, document: Document) -> Iterator[Problem]:
    for error in errors.errors(include_url=False)[: MAXIMUM_PROBLEMS + 1]:
        path = path_of(error, MemoryPolicy)
        if path not in document.refused:
            refused = error.get("ctx", {}).get("error")
            value = refused.value if isinstance(refused, InvalidValueError) else ""
            yield document.problem(path, *explain(error, MemoryPolicy), value)
