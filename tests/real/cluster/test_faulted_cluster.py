"""A quick one of the faults of the cluster (`./hack/faults --family cluster`), through the same code."""

from faulting.cluster import FAULTS

BY_NAME = {fault.name: fault for fault in FAULTS}


def test_a_cluster_restored_from_a_backup_harms_no_guest_loses_no_order_and_is_recovered_from():
    result = BY_NAME["cluster-etcd-restored"].carry_out()
    assert result.good, result
    assert "TRACEBACK" not in result.seen
