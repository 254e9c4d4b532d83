"""The process of a host that stays with its virtual machines: what their consoles say and are told, and the metadata
service of each guest.

It is a process of its own (`python -m anypop.agent.guests`), started and told by the agent (`agent/guests_process.py`).
It outlives the agent, and imports little.
"""
