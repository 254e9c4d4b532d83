"""Agreement of the model with real routers: random topologies run by BIRD in namespaces, and by both engines."""
