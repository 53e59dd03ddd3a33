"""`./hack/bench`: figures, each with a baseline measured in the same run, and its goal. One module a part.

Nothing here passes or fails: a missed goal is printed as missed.
"""
