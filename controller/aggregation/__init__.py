"""From the states of nodes to the status of policies. Pure: no I/O, no clock, no threads.

`reading` takes objects as the API server sends them, `ledger` keeps one sum a policy, `conditions` says what the sums
mean, `status` puts both into the shape of `MemoryPolicy.status`, and `pace` says when to write it.
"""
