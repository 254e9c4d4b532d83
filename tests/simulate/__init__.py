"""A simulated platform: control, agents, speakers, kernels, disks, wires and time, all from one seed.

The plan, the judge, the rollouts, control's step and the agent's turn are the real ones; what they look at and act upon
is simulated (`control`, `agent`, `host`, `speaker`). `faults` and `people` say what happens; `invariants` what may
never happen; `lives` runs a seed from its beginning to its end.
"""
