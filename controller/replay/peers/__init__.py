"""Other controllers' policies, written from what their documentation and sources say they do: one small file each.

They see what Ballast sees. Facts about the host are derived from the world's: its MemTotal is the memory it can give to
guests, and what no guest was given is free, for it runs nothing else.
"""
