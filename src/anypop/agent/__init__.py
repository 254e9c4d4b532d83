"""The process of one host: it obeys its order and reports what it sees. Nothing here plans.

Flow of one pass: `observe` (kernel, containers, speaker, probes) -> `decide` (pure: order and observation to steps
and report) -> `act` (steps in lanes). `run` holds the three together. Containers, kernel routes and BIRD outlive this
process; it finds them again by label and by name. It never needs control to go on.
"""
