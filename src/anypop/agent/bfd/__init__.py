"""Bidirectional Forwarding Detection (RFC 5880 to 5883) by a process of its own, which outlives BIRD and the agent.

`packet` and `session` are pure: octets, and the state machine of one session. `endpoint` has the sockets and timers of
all of them, `__main__` is the program. In: a file with the sessions, written by the agent (`act/bgp/bfd`). Out: packets
to neighbours, a file that says how each session is, and a word to BIRD when a neighbour is lost. It knows nothing else
of the platform and imports little, so that it is small and starts quickly.
"""
