"""Periodic services: one file for each, a runner that isolates them, and nothing that belongs to one feature alone."""
