"""What the keys of `ballast top` do: the state of its screen, and the next one for each key."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from controller.api.printable import printable
from controller.cli.sorting import SORTS

HELP = """\
q          quit                        Up, Down      choose a domain
/          filter; Enter keeps it      PgUp, PgDn    ten further
Esc        back; no filter             Home, End     first, last
Left, Right  sort by another column    Enter         explain the chosen domain
                                       ?             these keys

budget bar: █ what guests use, ▒ what they have beyond that, · what is left
= stable, ~ unstable, ! under memory pressure; sizes are MiB where no unit stands"""
HINT = "q quit  / filter  ←→ sort  ↑↓ choose  Enter explain  ? help"

PAGE = 10
"""Rows that a page key goes."""
_STEPS = {"up": -1, "down": 1, "pageup": -PAGE, "pagedown": PAGE, "home": -(10**9), "end": 10**9}
_ORDERS = (None, *SORTS)


@dataclass(frozen=True, slots=True)
class Screen:
    """What is shown."""

    sort: str | None = None
    wanted: str = ""
    """Text that is filtered by."""
    typing: bool = False
    """Keys are letters of the filter."""
    chosen: str = ""
    """Key of a domain; empty: none is chosen yet."""
    opened: bool = False
    """The chosen domain's history is shown."""
    helping: bool = False
    """The keys are shown."""
    ended: bool = False

    def pressed(self, key: str, domains: Sequence[str]) -> "Screen":
        """After a key: a character, or the name of a key that has none. `domains`: keys of the rows, in their order."""
        if self.helping:
            return replace(self, helping=False)
        if self.typing:
            return self._typed(key)
        if key in _STEPS:
            return self if self.opened else self._moved(_STEPS[key], domains)
        if key in {"left", "right"}:
            place = _ORDERS.index(self.sort) + (1 if key == "right" else -1)
            return replace(self, sort=_ORDERS[place % len(_ORDERS)])
        if key == "escape":
            return replace(self, opened=False) if self.opened else replace(self, wanted="", chosen="")
        others = {
            "q": replace(self, ended=True),
            "?": replace(self, helping=True),
            "/": replace(self, typing=True, opened=False),
            "enter": replace(self, opened=self.chosen in domains),
        }
        return others.get(key, self)

    def _typed(self, key: str) -> "Screen":
        if key == "escape":
            return replace(self, typing=False, wanted="")
        if key == "enter":
            return replace(self, typing=False)
        if key == "backspace":
            return replace(self, wanted=self.wanted[:-1])
        return replace(self, wanted=self.wanted + key) if len(key) == 1 else self

    def _moved(self, step: int, domains: Sequence[str]) -> "Screen":
        """To another row; into them from either end when none is chosen, or the chosen one is gone."""
        if not domains:
            return self
        outside = -1 if step > 0 else len(domains)
        place = (domains.index(self.chosen) if self.chosen in domains else outside) + step
        return replace(self, chosen=domains[min(max(place, 0), len(domains) - 1)])

    @property
    def footer(self) -> str:
        """The last line."""
        if self.typing:
            return f"/{printable(self.wanted)}▏"
        if self.opened:
            return "Esc back  q quit"
        return f"filter: {printable(self.wanted)}  {HINT}" if self.wanted else HINT
