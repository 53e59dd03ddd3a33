"""The same real guests with the same workloads under Ballast and under its peers, in turn."""
