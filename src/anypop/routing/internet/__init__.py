"""The Internet as a graph: files of AS relationships and of places in, integer arrays out. Needs numpy; imported only
where it is used.
"""
