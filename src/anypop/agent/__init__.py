"""The PoP's process: it obeys its order and reports what it sees. Nothing here plans.

Flow of one pass: `observe` (kernel, containers, speaker, probes) -> `converge` (pure) -> `perform` (steps in lanes) -> `report`.
Containers, kernel routes and BIRD outlive this process; it finds them again by label and by name. It never needs control to go on.
"""
