"""From the states of nodes to the status of policies. Pure: no I/O, no clock, no threads.

`watchevents` is what can be heard, `decode` takes out of it what sums need, `contribution` is what one node adds to a
policy,
`rollup` keeps the sums and `clustercache` everything that was heard. `conditions` says what sums mean,
`rollout` which nodes enforce, `status` puts both
into the shape of `MemoryPolicy.status`, `ratelimiter` says when to write, and `statusqueue` what to write next.
"""
