"""The host's own memory."""

import re
from pathlib import Path

import pytest

from controller.host.meminfo import MeminfoError, Memory, read

GOOD = {
    "MemTotal": "8000 kB",
    "MemFree": "100 kB",
    "MemAvailable": "3000 kB",
    "SwapTotal": "500 kB",
    "SwapFree": "400 kB",
}


def written(proc: Path, **fields: str | None) -> Path:
    lines = [f"{name}:        {value}\n" for name, value in (GOOD | fields).items() if value is not None]
    (proc / "meminfo").write_text("".join(lines))
    return proc


def test_sizes_are_bytes(tmp_path):
    assert read(written(tmp_path)) == Memory(8000 * 1024, 3000 * 1024, 100 * 1024)


def test_this_machine_can_be_read():
    assert read(Path("/proc")).total > 0


def test_nothing_available_is_what_a_kernel_tells_in_need(tmp_path):
    assert read(written(tmp_path, MemAvailable="0 kB")).available == 0


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"MemAvailable": None}, "meminfo has no field MemAvailable; is it that of a Linux kernel, 3.14 or newer?"),
        ({"MemTotal": "many kB"}, "meminfo: MemTotal is 'many kB', not a whole number of kB"),
        ({"SwapFree": "-1 kB"}, "meminfo: SwapFree is '-1 kB', not a whole number of kB"),
        ({"MemTotal": "8000"}, "meminfo: MemTotal is '8000', not a whole number of kB"),
        ({"MemAvailable": "9000 kB"}, "meminfo: MemAvailable is 9216000 bytes of MemTotal 8192000; is it a whole"),
        ({"MemTotal": "0 kB", "MemAvailable": "0 kB"}, "meminfo: MemAvailable is 0 bytes of MemTotal 0; is it a whole"),
    ],
)
def test_an_error_names_file_field_and_value(tmp_path, fields, error):
    with pytest.raises(MeminfoError, match=re.escape(error)):
        read(written(tmp_path, **fields))


def test_a_missing_file_is_named_with_the_remedy(tmp_path):
    with pytest.raises(MeminfoError, match="meminfo cannot be read: No such file or directory; mount the host's /proc"):
        read(tmp_path)


def test_binary_rubbish_is_refused(tmp_path):
    (tmp_path / "meminfo").write_bytes(b"\xff\xfe")
    with pytest.raises(MeminfoError, match="meminfo cannot be read"):
        read(tmp_path)
