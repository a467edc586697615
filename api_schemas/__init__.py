"""Shapes on the wire: what producers, hosts and readers of results send and get. Pydantic only."""
