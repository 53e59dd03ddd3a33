"""From the states of nodes to the status of policies. Pure: no I/O, no clock, no threads.

`news` is what can be heard, `reading` takes out of it what sums need, `figures` is what one node adds to a policy,
`ledger` keeps the sums and `picture` everything that was heard. `conditions` says what sums mean,
`rollout` which nodes enforce, `status` puts both
into the shape of `MemoryPolicy.status`, `pace` says when to write, and `desk` what to write next.
"""
