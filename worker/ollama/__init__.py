"""The only HTTP to a host."""
