"""The pure core: one step turns (state, snapshot, now) into (state, decision). No I/O, no clock, no threads."""
