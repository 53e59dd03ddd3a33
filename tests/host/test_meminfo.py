"""The host's own memory."""

import re
from pathlib import Path

import pytest

from controller.host.meminfo import Meminfo, MeminfoError, read

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
    assert read(written(tmp_path, Shmem="70 kB")) == Meminfo(8000 * 1024, 3000 * 1024, 100 * 1024, 70 * 1024)


@pytest.mark.parametrize("free", ["500 kB", "501 kB"])
def test_swap_of_which_nothing_is_used_is_nothing(tmp_path, free):
    assert read(written(tmp_path, SwapFree=free)) == Meminfo(8000 * 1024, 3000 * 1024, 0, 0)


def test_the_largest_machine_that_is_believed_has_four_pebibytes(tmp_path):
    assert read(written(tmp_path, MemTotal=f"{2**42} kB")).total == 2**52


def test_a_machine_may_have_all_of_its_memory_free(tmp_path):
    assert read(written(tmp_path, MemFree="8000 kB", MemAvailable="8000 kB")).available == 8000 * 1024


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
        ({"MemAvailable": "9000 kB"}, "meminfo: MemAvailable is 9216000 bytes of MemTotal 8192000; is it the host's,"),
        ({"MemTotal": "0 kB", "MemAvailable": "0 kB"}, "meminfo: MemAvailable is 0 bytes of MemTotal 0; is it the"),
        ({"MemTotal": f"{2**43} kB"}, f"of MemTotal {2**53}; is it the host's, not one that a container makes up?"),
        ({"MemTotal": "1" * 5000 + " kB"}, f"meminfo: MemTotal is '{'1' * 40}', not a whole number of kB"),
        (
            {"MemFree": "5000 kB", "MemAvailable": "0 kB"},
            "MemFree is 5120000 bytes of MemTotal 8192000, and MemAvailable 0",
        ),
        ({"MemFree": "8001 kB", "MemAvailable": "8000 kB"}, "meminfo: MemFree is 8193024 bytes of MemTotal 8192000"),
    ],
)
def test_an_error_names_file_field_and_value(tmp_path, fields, error):
    with pytest.raises(MeminfoError, match=re.escape(error)):
        read(written(tmp_path, **fields))


@pytest.mark.parametrize("free", ["100 kB", "2000 kB"])
def test_a_kernel_may_have_free_memory_that_it_does_not_call_available(tmp_path, free):
    assert read(written(tmp_path, MemFree=free, MemAvailable="0 kB")).available == 0


ARCSTATS = """13 1 0x01 147 39984 3848217230 16238962
name                            type data
hits                            4    10
c                               4    1048576
c_min                           4    {least}
c_max                           4    4194304
size                            4    {size}
"""


def with_zfs(proc: Path, text: str) -> int:
    """Bytes available."""
    folder = proc / "spl/kstat/zfs"
    folder.mkdir(parents=True)
    (folder / "arcstats").write_text(text, encoding="latin-1")
    return read(written(proc)).available


@pytest.mark.parametrize(
    ("size", "least", "more"),
    [(2_000_000, 500_000, 1_500_000), (500_000, 500_000, 0), (400_000, 500_000, 0), (9 * 2**40, 1, 5000 * 1024)],
)
def test_what_zfs_caches_above_its_least_is_available(tmp_path, size, least, more):
    assert with_zfs(tmp_path, ARCSTATS.format(size=size, least=least)) == 3000 * 1024 + more


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name type data\n",
        "size 4 5000\n",
        "c_min 4 1\n",
        "size 4 -7\nc_min 4 -9\n",
        "size 4 x\nc_min 4 1\n",
        "\xff",
    ],
)
def test_what_zfs_does_not_tell_is_not_available(tmp_path, text):
    assert with_zfs(tmp_path, text) == 3000 * 1024


def test_a_missing_file_is_named_with_the_remedy(tmp_path):
    with pytest.raises(MeminfoError, match="meminfo cannot be read: No such file or directory; mount the host's /proc"):
        read(tmp_path)


def test_binary_rubbish_is_refused(tmp_path):
    (tmp_path / "meminfo").write_bytes(b"\xff\xfe")
    with pytest.raises(MeminfoError, match="meminfo cannot be read"):
        read(tmp_path)
