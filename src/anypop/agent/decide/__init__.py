"""Deciding, purely: from the order and what was observed to steps, announcements, firewall rules and the report.

No I/O, no clock, no handles: an import contract in pyproject.toml holds this. Begin with `elements` and `observed`,
then `facts`, `converge`.
"""
