"""Sends lines of this host's logs to receivers: a process of its own, so that no flood of lines slows the agent."""
