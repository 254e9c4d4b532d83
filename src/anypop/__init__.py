"""Anypop: containers in many cities behind one anycast address, on your own machines and your own AS number."""
