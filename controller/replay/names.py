"""Names of domains in CSV files: whatever libvirt takes as a name comes back the same, and a spreadsheet sees text.

A name that could be taken for a formula or for several cells (some spreadsheets part them at `;`), or that holds what
does not print, has an apostrophe before it, as text has in spreadsheets, and is escaped as Python escapes text; every
other name stands there as it is.
https://owasp.org/www-community/attacks/CSV_Injection
"""

import re

from controller.api.printable import printable

_MARK = "'"
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", _MARK)
"""What a formula, or what is marked, begins with; some spreadsheets take the signs in full width, too."""
_ESCAPED = re.compile(r"\\(?:\\|[nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")


def written(name: str) -> str:
    """The name as it stands in a cell."""
    if name == printable(name) == name.strip() and not name.startswith(_FORMULA) and ";" not in name:
        return name
    escaped = printable(name.replace("\\", r"\\")).replace(";", r"\x3b")
    return _MARK + (f"{escaped[:-1]}\\x20" if escaped.endswith(" ") else escaped)


def read(cell: str) -> str:
    """The name in a cell; what `written` never writes is taken as it is, without space around it."""
    cell = cell.strip()
    name = _ESCAPED.sub(lambda found: found[0].encode().decode("unicode_escape"), cell.removeprefix(_MARK))
    return name if cell.startswith(_MARK) and written(name) == cell else cell
