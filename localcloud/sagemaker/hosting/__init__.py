"""Models, endpoint configs, endpoints and invocations."""
