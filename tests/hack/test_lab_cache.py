"""What the lab keeps of what it builds."""

import os

from lab.cache import keep_newest


def test_the_newest_are_kept_and_what_another_process_removes_meanwhile_is_no_failure(tmp_path):
    for age, name in enumerate(("newest", "newer", "old", "oldest")):
        path = tmp_path / name
        path.mkdir() if age % 2 else path.touch()
        os.utime(path, (1000 - age, 1000 - age))
    gone = tmp_path / "gone"
    keep_newest(2, [gone, *tmp_path.iterdir()])
    assert sorted(each.name for each in tmp_path.iterdir()) == ["newer", "newest"]
