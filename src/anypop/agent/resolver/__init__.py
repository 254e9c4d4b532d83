"""The resolver of one host: what its instances ask for by name. A process of its own, which the agent starts and tells;
it outlives the agent, and reads nothing but the files that the agent writes.
"""
