"""Instances: the seam (`runtime`) and Podman behind it (`podman`)."""
