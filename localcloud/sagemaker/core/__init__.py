"""Parts that every kind of resource shares: context, tags, events, errors, and what the host provides."""
