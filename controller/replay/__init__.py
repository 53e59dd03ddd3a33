"""Replay: traces of real demand, a simulated host, Ballast and its peers on it, and what each did to the guests.

Sizes are MiB and times seconds throughout, as in traces; only the adapter to the engine speaks bytes.
"""
