"""Hosts are added, changed, looked at and checked."""
