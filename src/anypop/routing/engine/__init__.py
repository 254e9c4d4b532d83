"""Propagation of our announcements over the graph: a slow obvious engine and a compiled one that agrees with it.
Needs numpy and numba.
"""
