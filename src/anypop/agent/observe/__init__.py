"""Looking at the world: what runs, what the kernel and the speaker say, who answers his probe, who has just died.
Decides nothing.
"""
