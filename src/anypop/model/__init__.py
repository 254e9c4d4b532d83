"""The nouns: frozen types, ids, addresses and reasons. Nothing here imports anything of ours, and nothing does I/O."""
