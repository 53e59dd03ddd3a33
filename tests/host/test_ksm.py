"""What the kernel merged, as its files tell."""

import mmap

import pytest

from controller.host.ksm import merged


@pytest.mark.parametrize("pages", [1000, 10**15])
def test_merged_pages_are_told_in_bytes(tmp_path, pages):
    folder = tmp_path / "kernel/mm/ksm"
    folder.mkdir(parents=True)
    (folder / "pages_sharing").write_text(f"{pages}\n")
    assert merged(tmp_path) == pages * mmap.PAGESIZE


def test_a_kernel_without_ksm_merges_nothing(tmp_path):
    assert merged(tmp_path) == 0


@pytest.mark.parametrize("text", ["", "many", "-5", "1" * 17, "\xff"])
def test_what_cannot_be_read_merges_nothing(tmp_path, text):
    folder = tmp_path / "kernel/mm/ksm"
    folder.mkdir(parents=True)
    (folder / "pages_sharing").write_text(text, encoding="latin-1")
    assert merged(tmp_path) == 0
