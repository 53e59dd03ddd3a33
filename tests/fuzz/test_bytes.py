"""Whatever stands in a policy file, a trace, a reply of libvirt or a domain's XML: taken or refused.

That takes little time and memory.

What is tried is chance, and valid texts with bytes changed, cut out, doubled and swapped.
`BALLAST_FUZZ_EXAMPLES=20000 pytest tests/fuzz` tries more; `./hack/fuzz` does.
"""

import gzip
import os
import resource
import time
from collections.abc import Callable
from contextlib import contextmanager

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from controller.api.documents import load
from controller.engine.reasons import Reason
from controller.host.domain_xml import describe
from controller.host.look import STATISTICS, read, to_samples
from controller.replay import trace

EXAMPLES = int(os.environ.get("BALLAST_FUZZ_EXAMPLES", settings().max_examples))
PATIENCE_S = 5.0
"""Of a processor for one text; the longest legal ones take a tenth of it."""
MEMORY = 128 * 2**20
"""Bytes by which one text may raise the peak of resident memory: far more than any needs."""

POLICY = b"""apiVersion: ballast.dev/v1alpha1
kind: MemoryPolicy
metadata: {name: databases, labels: {a: b}}
spec:
  mode: Enforce
  domainSelector: {names: ["db-*"]}
  headroom: {percent: 15, quantity: 256Mi}
  limits: {minimum: 1Gi, maximumPercent: 90}
---
"""
TRACE = b"time_s,domain,demand_mib,max_mib\n0,a,10,100\n0,b,20,200\n2,a,11,100\n2,b,21,200\n4,a,12,100\n"
XML = b"""<domain type='kvm'><name>web</name><memory unit='KiB'>1048576</memory><currentMemory>524288</currentMemory>
<metadata><b:memory xmlns:b='https://ballast.dev/libvirt/v1alpha1' weight='200' minimum='512Mi'>
<b:label name='tier' value='db'/></b:memory></metadata><memoryBacking><locked/></memoryBacking>
<devices><memballoon model='virtio' autodeflate='on'><stats period='5'/></memballoon></devices></domain>"""

PIECES = (
    *(b"\0", b"\xff", b"\n", b"'", b'"', b"<", b">", b"&", b"[", b"{", b": ", b"- ", b",", b"*a", b"&a", b"<<"),
    *(b"9" * 400, b"1e999", b"nan", b"-", b"\xf0\x9f\x90\x98", b"<!DOCTYPE a>", b"\x1f\x8b", b"[" * 400, b"<a>" * 400),
    b"!!python/object/apply:os.abort []",
)
pieces = st.sampled_from(PIECES)


@st.composite
def spoiled(draw: st.DrawFn, text: bytes) -> bytes:
    """A text with a few things wrong with it."""
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(start + draw(st.integers(0, 12)), len(text))
        text = text[:start] + draw(pieces | st.binary(max_size=4) | st.just(text[start:end] * 2)) + text[end:]
    return text


@contextmanager
def modestly():
    """What is done inside takes little time of a processor, however busy the machine is, and little memory.

    Resident memory is told from before and after each text, not each test: hypothesis remembers its examples.
    """
    begin, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - begin < PATIENCE_S
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MEMORY


def fuzzed(strategy: st.SearchStrategy) -> Callable[..., Callable[..., None]]:
    """Many examples of `strategy`."""

    def around(test: Callable[..., None]) -> Callable[..., None]:
        health = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
        bounds = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=health)
        return bounds(given(strategy)(test))

    return around


@fuzzed(st.binary(max_size=2000) | spoiled(POLICY))
def test_a_policy_file_is_taken_or_its_problems_are_told(content):
    with modestly():
        loaded = load(content, "p.yaml")
    assert all(str(problem).startswith("p.yaml") for problem in loaded.problems)


@fuzzed(st.binary(max_size=2000) | spoiled(TRACE) | spoiled(gzip.compress(TRACE, mtime=0)))
def test_a_trace_is_taken_or_refused(tmp_path, content):
    file = tmp_path / "trace.csv"
    file.write_bytes(content)
    try:
        with modestly():
            judged = trace.read(file).domains
    except trace.TraceError as error:
        judged = str(error).startswith(str(file))
    assert judged


@fuzzed(st.binary(max_size=2000) | spoiled(XML))
def test_a_domains_xml_is_taken_or_the_domain_is_left_alone(content):
    with modestly():
        description = describe(content.decode(errors="surrogateescape"), "key", "uuid", "web", 1)
    assert (description.facts.obstacle is Reason.UNREADABLE) == bool(description.error)


numbers = st.integers(-(2**63), 2**64 - 1)
"""What libvirt's typed parameters can carry, texts and fractions apart: no statistic here is one."""
replies = st.dictionaries(st.sampled_from([name for name, _ in STATISTICS]) | st.text(max_size=5), numbers, max_size=12)


@fuzzed(st.lists(replies, max_size=5))
def test_replies_of_libvirt_become_columns_of_numbers(given_replies):
    keys = [str(number) for number in range(len(given_replies))]
    with modestly():
        samples = to_samples(read(keys, given_replies), {key: row for row, key in enumerate(keys)})
    assert samples.rows.tolist() == list(range(len(keys)))
    assert samples.actual.dtype == np.float64


def test_a_trace_that_is_one_endless_line_is_refused_before_it_fills_the_memory(tmp_path):
    file = tmp_path / "bomb.csv.gz"
    with gzip.open(file, "wb", compresslevel=1) as out:
        for _ in range(2**8):
            out.write(b"a" * 2**20)
    with modestly(), pytest.raises(trace.TraceError, match="line 1 is longer than"):
        trace.read(file)
