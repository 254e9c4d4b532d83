"""Containers: the seam (`seam`), Podman behind it (`podman`), and the deaths of processes (`deaths`)."""
