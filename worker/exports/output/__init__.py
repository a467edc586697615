"""Rows and values of the database in the shapes that are shown, by topic."""
