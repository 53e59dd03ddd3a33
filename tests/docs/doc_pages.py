"""The documentation as tests read it: its pages, and the blocks, tables, links and headings of each."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "controller/README.md",
    "controller/replay/README.md",
    "crds/README.md",
    "hack/EVIDENCE.md",
    "hack/README.md",
    "manifests/README.md",
    "manifests/monitoring/README.md",
    "manifests/monitoring/runbooks.md",
    "manifests/systemd/README.md",
)
"""All there are."""


def read(page: str) -> str:
    """The text of a page, by its path from the top."""
    return (ROOT / page).read_text()


def blocks(text: str, language: str) -> list[str]:
    """Fenced blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """Lines of all shell blocks, those that are continued in one."""
    joined = "\n".join(blocks(text, "sh")).replace("\\\n", "")
    return [line for line in joined.splitlines() if line and not line.startswith("#")]


def table(text: str, heading: str) -> list[list[str]]:
    """Cells of the table whose first column has this heading, without its head."""
    lines = text[text.index(f"| {heading} |") :].split("\n\n", maxsplit=1)[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def prose(text: str) -> str:
    """The text without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def links(text: str) -> list[str]:
    """Targets of links and pictures."""
    return re.findall(r"\]\(([^)\s]+)\)", prose(text))


def anchors(text: str) -> set[str]:
    """What a link to a heading ends in, as GitHub makes it of the heading's words."""
    headings = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
