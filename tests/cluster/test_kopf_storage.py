"""What kopf would remember of a policy, in the policy: nothing."""

import kopf
import pytest

from controller.cluster.kopfwatch import _settings

OWN = {"kopf.zalando.org/last-handled-configuration": "no JSON", "kopf.zalando.org/touch-dummy": "2026-01-31"}


@pytest.mark.parametrize("annotations", [{}, OWN], ids=["plain", "with annotations of kopf"])
def test_nothing_is_compared_copied_or_written(annotations):
    told = {"metadata": {"name": "all", "annotations": annotations}, "spec": {"weight": 1}, "status": {"nodes": 3}}
    body, patch = kopf.Body(told), kopf.Patch()
    persistence = _settings().persistence
    diffs, progress = persistence.diffbase_storage, persistence.progress_storage
    essence = progress.clear(essence=diffs.build(body=body))
    diffs.store(body=body, patch=patch, essence=essence)
    progress.store(key="policy", record={}, body=body, patch=patch)
    progress.touch(body=body, patch=patch, value=None)
    progress.purge(key="policy", body=body, patch=patch)
    assert (essence, patch) == ({}, {})
    assert (diffs.fetch(body=body), progress.fetch(key="policy", body=body)) == (None, None)
