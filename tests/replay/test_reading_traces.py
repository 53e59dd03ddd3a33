"""Traces as files: what is taken, and how what is not is named."""

import csv
import gzip
import os
import re
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest
from made_traces import trace as made

from controller.api.printable import printable
from controller.replay.trace import TraceError, TraceWriter, read

HEADER = "time_s,domain,demand_mib,max_mib\n"
GOOD = HEADER + "0,a,10,100\n0,b,20,200\n2,a,11,100\n2,b,21,200\n4,a,12,100\n"


@pytest.fixture
def given(tmp_path):
    def write(content):
        path = tmp_path / "trace.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize("pack", [str.encode, lambda text: gzip.compress(text.encode())], ids=["plain", "gzip"])
def test_a_trace_is_read_by_domain_in_order_of_appearance(given, pack):
    trace = read(given(pack(GOOD)))

    assert trace.domains == ("a", "b")
    assert [one.times.tolist() for one in trace.series] == [[0, 2, 4], [0, 2]]
    assert [one.demand.tolist() for one in trace.series] == [[10, 11, 12], [20, 21]]
    assert [one.maximum.tolist() for one in trace.series] == [[100, 100, 100], [200, 200]]
    assert (trace.step_s, trace.start, trace.end) == (2, 0, 4)
    assert (trace.peak_mib, trace.maximum_mib) == (32, 300)


def test_what_was_resident_is_read_where_it_was_recorded(given):
    text = "time_s,domain,demand_mib,max_mib,resident_mib\n0,a,10,100,50\n0,b,10,100,\n1,a,10,100, \n1,b,10,100,7.5\n"
    trace = read(given(text))
    assert [[str(each) for each in one.resident] for one in trace.series] == [["50.0", "nan"], ["nan", "7.5"]]
    assert trace.since(1).series[1].resident.tolist() == [7.5]


def test_where_it_was_not_there_is_none(given):
    trace = read(given(GOOD))
    assert [one.resident for one in (*trace.series, *trace.until(2).series)] == [None] * 4


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("x", "'x' is not a number"),
        ("-1", "'-1' is negative"),
        ("inf", "'inf' is not finite"),
        ("1e9", "'1e9' is more than 67108864; check the unit"),
    ],
)
def test_what_was_resident_is_checked_as_all_else(given, cell, told):
    path = given(f"time_s,domain,demand_mib,max_mib,resident_mib\n0,a,10,100,\n1,a,10,100,{cell}\n")
    with pytest.raises(TraceError, match=re.escape(f"line 3, column resident_mib: {told}")):
        read(path)


def test_a_column_of_what_was_resident_is_there_once(given):
    with pytest.raises(TraceError, match="column resident_mib is there more than once"):
        read(given("time_s,domain,demand_mib,max_mib,resident_mib,resident_mib\n0,a,10,100,1,1\n"))


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_byte_order_mark_is_no_part_of_the_first_columns_name(given, pack):
    assert read(given(pack(GOOD.encode("utf-8-sig")))).domains == ("a", "b")


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_trace_may_come_through_a_pipe(pack):
    taken, given = os.pipe()
    os.write(given, pack(GOOD.encode()))
    os.close(given)
    try:
        trace = read(Path(f"/dev/fd/{taken}"))
    finally:
        os.close(taken)

    assert trace.domains == ("a", "b")


@pytest.mark.parametrize(
    ("apart", "step"),
    [(1.0005, 1), (0.98, 1), (1.049, 1), (1.06, 1.06), (2.0, 2), (2.5, 2.5), (300.0, 300), (0.04, 0.04)],
)
def test_a_step_is_whole_seconds_where_only_jitter_keeps_it_from_them(apart, step):
    assert made(apart, a=[1.0, 2.0]).step_s == step


def test_columns_may_stand_in_any_order_among_others_and_lines_may_be_blank(given):
    text = "\n".join(["max_mib,note,domain,time_s,demand_mib", "100,x,a,0,1", "", "100,y,a,1,2", "", ""])

    assert read(given(text)).series[0].demand.tolist() == [1, 2]


@pytest.mark.parametrize(
    "rows",
    [
        "0,a,524288.00,8388608\n1,a,1,8388608\n",
        "0,a,1,8388608\n1,a,1,8388608\n1,b,1,4194303\n",
        "0,a,31000,1572864\n1,a,31000,1572864\n",
    ],
    ids=["written as MiB", "with a smaller one beside", "hosts of 1.5 TiB"],
)
def test_domains_of_tebibytes_are_taken_where_they_are_meant(given, rows):
    assert read(given(HEADER + rows)).maximum_mib >= 1048576


def test_a_trace_can_be_cut_by_time(given):
    trace = read(given(GOOD))

    assert trace.until(0).domains == ("a", "b")
    assert trace.since(4).domains == ("a",)


BAD = {
    "": r"is empty; the first line names the columns",
    HEADER: r"holds no samples",
    "time_s,domain,demand\n0,a,1\n": r"line 1: column demand_mib, max_mib is missing \(there: time_s, domain, demand\)",
    "time_s,domain,demand_mib,max_mib,demand_mib\n0,a,1,9,2\n": r"line 1: column demand_mib is there more than once",
    HEADER + "0,a,1\n": r"line 2: 3 fields where the header has 4",
    HEADER + "0,a,1,9\n1,a,x,9\n": r"line 3, column demand_mib: 'x' is not a number",
    HEADER + "0,a,1,9\n1,a,2_048,9\n": r"line 3, column demand_mib: '2_048' is not a number",
    HEADER + "0,a,1,9\n1,a,nan,9\n": r"line 3, column demand_mib: 'nan' is not finite",
    HEADER + "0,a,1,9\n1,a,1,inf\n": r"line 3, column max_mib: 'inf' is not finite",
    HEADER + "0,a,1,9\n1,a,-1,9\n": r"line 3, column demand_mib: '-1' is negative",
    HEADER + "0,a,1,9\n1,a,1e9,9\n": r"line 3, column demand_mib: '1e9' is more than 67108864",
    HEADER + "0,a,1,0\n1,a,1,9\n": r"line 2, column max_mib: '0' is no maximum",
    HEADER + "0,,1,9\n1,a,1,9\n": r"line 2, column domain: '' is no name",
    HEADER + "0,a,1,9\n\n5,a,1,9\n3,b,1,9\n": r"line 5, column time_s: '3' goes back in time",
    HEADER + "0,a,1,9\n5,a,1,9\n5,b,1,9\n5,a,1,9\n": r"line 5, column time_s: '5' is a second sample",
    HEADER + "0,a,1,9\n1,a,1,9\n604802,a,1,9\n": r"line 4, column time_s: '604802' comes long after .* 7 days",
    HEADER + "0,a,1,9\n1,b,1,9\n": r"single sample of each domain",
    HEADER + "0,a,0,9\n1,a,0,9\n": r"column demand_mib is 0 in every line",
    "time_s;domain;demand_mib;max_mib\n0;a;1,5;9\n": r"line 1: fields are split by semicolons; split them by commas",
    "time_s\tdomain\tdemand_mib\tmax_mib\n": r"line 1: fields are split by tabs; split them by commas",
    HEADER
    + "0,a,524288,8388608\n1,b,1,4194304\n2,a,1,8388608\n": r"line 2, column max_mib: '8388608' is 8192 GiB, and "
    r"no domain has less; is it KiB\? Divide demand_mib and max_mib by 1024; write 8388608\.00 where MiB are meant",
    HEADER + "0,a,1.0,8388608.0\n2,a,1.0,8388608.0\n": r"line 2, column max_mib: '8388608\.0' is 8192 GiB, and ",
    HEADER + "0,a,900,9\n1,a,901,9\n": r"line 3, column demand_mib: '901' is more than 100 times max_mib; give both",
    HEADER + '0,"a,1,9\n1,a,1,9\n': r"is not CSV",
    b"\xff\xfe" + HEADER.encode("utf-16-le"): r"is not UTF-8 text",
    b"\x1f\x8b\x08\x00not gzip at all": r"gzip data is cut off or damaged",
    gzip.compress(GOOD.encode(), mtime=0)[:-12]: r"gzip data is cut off or damaged after line \d+; copy the file again",
}


@pytest.mark.parametrize(("content", "message"), BAD.items())
def test_what_is_wrong_is_named_with_its_place_and_a_remedy(given, content, message):
    path = given(content)

    with pytest.raises(TraceError, match=message) as refused:
        read(path)

    assert str(refused.value).startswith(f"{path}: ")
    assert "; " in str(refused.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TraceError, match=r"none\.csv: cannot be read: No such file"):
        read(tmp_path / "none.csv")


@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz"])
def test_what_is_recorded_can_be_read_at_any_moment(tmp_path, name):
    path = tmp_path / name
    with TraceWriter(path, limit=10_000) as writer:
        assert writer.append([(0, "a", 1.5, 9), (0, 'b,"c"', 2, 9)])
        assert writer.append([(1, "a", 1.25, 9)])
        trace = read(path)

    assert trace.domains == ("a", 'b,"c"')
    assert trace.series[0].demand.tolist() == [1.5, 1.25]


ODD_NAMES = [
    *(
        "a",
        "a ",
        " a",
        "  ",
        "a\rb",
        "a\nb",
        "a\r\nb",
        "a\tb",
        "a\x00b",
        "a\x1b[31m",
        "a\x9b31m",
        "a\u202eb",
        "a\u200bb",
        "a\u3164",
    ),
    *(
        '=HYPERLINK("http://x")',
        "a;=1+1",
        ";",
        "+1",
        "-1",
        "@SUM(1)",
        "\uff1dHYPERLINK(1)",
        "\uff0b1",
        "\uff0d1",
        "\uff20SUM(1)",
        "'a",
        "''a",
        "'=1",
        "\t=1",
        "a\\nb",
        "'a\\nb",
        "a\\",
        "DOM\\user",
        'a,b;"c"',
    ),
    *("\udc80", "ä", "名", "\U0001f418", "\N{NO-BREAK SPACE}a"),
]


def test_odd_names_come_back_as_they_were_each_for_itself(tmp_path):
    path = tmp_path / "out.csv"
    with TraceWriter(path, limit=100_000) as writer:
        for time in (0, 1):
            assert writer.append([(time, name, 1.5, 9) for name in ODD_NAMES])

    assert read(path).domains == tuple(ODD_NAMES)


def test_nothing_in_a_recording_is_a_formula_or_does_not_print(tmp_path):
    path = tmp_path / "out.csv"
    with TraceWriter(path, limit=100_000) as writer:
        assert writer.append([(0, name, 1.5, 9) for name in ODD_NAMES])

    lines = path.read_text().split("\n")
    assert len(lines) == len(ODD_NAMES) + 2
    assert all(printable(line) == line for line in lines)
    cells = [row[1] for row in csv.reader(lines) if row]
    assert [cell for cell in cells if cell[0] in "=+-@\t\r\uff1d\uff0b\uff0d\uff20" or ";" in cell] == []


@pytest.mark.parametrize("cell", ["'a", "a\\nb", "DOM\\user", "'a\\q", "'a\\u12", "'"])
def test_names_that_others_wrote_are_taken_as_they_stand(given, cell):
    assert read(given(HEADER + f"0, {cell} ,1,9\n1,{cell},1,9\n")).domains == (cell,)


def test_a_recording_never_grows_beyond_its_limit(tmp_path):
    path = tmp_path / "out.csv"
    with TraceWriter(path, limit=60) as writer:
        assert writer.append([(0, "a", 1, 9)])
        assert not writer.append([(1, "a", 1, 9), (1, "b", 1, 9)])

    assert path.read_text() == HEADER + "0.000,a,1.000,9.000\n"


@contextmanager
def files_of_at_most(size):
    """As on a full disk: a write that goes beyond `size` bytes is cut there, the next one fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [10, 0], ids=["for a part", "for nothing"])
@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz"])
def test_a_disk_that_fills_up_leaves_what_was_whole_before(tmp_path, name, room):
    path = tmp_path / name
    with TraceWriter(path, limit=10_000) as writer:
        writer.append([(0, "a", 1, 9), (1, "a", 2, 9)])
        whole = path.read_bytes()
        with files_of_at_most(len(whole) + room), pytest.raises(OSError, match=r"No space left|too large"):
            writer.append([(2, "a", 3, 9)])
        assert path.read_bytes() == whole
        assert writer.append([(2, "a", 4, 9)])

    assert read(path).series[0].demand.tolist() == [1, 2, 4]


def test_a_disk_without_room_for_a_first_line_is_named_and_gets_no_file(tmp_path):
    path = tmp_path / "out.csv"

    with files_of_at_most(10), pytest.raises(TraceError, match=rf"{path}: cannot be written: No space left"):
        TraceWriter(path, limit=1000)

    assert not path.exists()


def test_a_recording_never_overwrites(tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("precious")

    with pytest.raises(TraceError, match="exists; name a new file"):
        TraceWriter(path, limit=1000)

    assert path.read_text() == "precious"
