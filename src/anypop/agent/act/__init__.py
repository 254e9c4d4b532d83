"""Acting on the world: steps become calls on the kernel, the instance runtime and the speaker. Decides nothing."""
