"""The values everybody speaks in: frozen, without I/O."""
