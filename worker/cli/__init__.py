"""The commands, and how they are rendered."""
