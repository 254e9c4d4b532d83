"""Metrics at control: what control counts of itself, what hosts tell, and the store that keeps both."""
