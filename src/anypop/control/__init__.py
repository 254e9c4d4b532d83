"""The control plane: the store, the core that turns every change into orders, accounts, the local authority. It knows the world by reports."""
