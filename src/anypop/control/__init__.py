"""The control plane: the store, the core that turns changes into orders, accounts, the local authority. It knows the
world by reports.
"""
