"""Thin I/O on a Linux host: `ip`, network namespaces, BIRD's control socket, detached processes. Used by agent and
lab; decides nothing.
"""
