"""How the store's tables come to be, version by version. Run at start by `store.open_store`, each whole or not at
all.
"""
