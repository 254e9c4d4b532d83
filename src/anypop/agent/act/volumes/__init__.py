"""Volumes: files with a file system of their own (`files`), where instances see them (`mounts`), both together
(`keeper`).
"""
