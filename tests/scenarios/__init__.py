"""Scenarios: scripts of commands against the pure planner, with their recorded answers. Each is a test, a document
and a bug report.
"""
