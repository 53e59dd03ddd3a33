"""The profile for libvirt's access control is the one that SECURITY.md explains; `tests/real` runs it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
RULES = (ROOT / "manifests" / "polkit" / "50-ballast.rules").read_text()
SECURITY = (ROOT / "SECURITY.md").read_text()


def test_every_right_is_explained_and_no_other():
    table = SECURITY[SECURITY.index("| The user `ballast` may |") :].split("\n\n")[0]
    explained = re.findall(r"`((?:unix|connect|domain)\.[\w-]+)`", table)
    granted = re.findall(r'"org\.libvirt\.(?:api\.)?([\w.-]+)"', RULES)
    assert sorted(explained) == sorted(granted)
