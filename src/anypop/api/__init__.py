"""The HTTP face of control: the Workload API and Anypop's own. It decides nothing."""
