"""The portal: pages for people, over the public API and nothing else."""
