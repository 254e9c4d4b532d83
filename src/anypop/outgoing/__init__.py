"""To places that somebody else names: looked up, checked, connected to at that very address. For hosts and control."""
