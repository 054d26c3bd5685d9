"""Parts that every kind of resource shares: the context, tags and events."""
