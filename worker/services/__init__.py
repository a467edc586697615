"""One use case per module: storage, host and policy brought together; each owns its transactions."""
