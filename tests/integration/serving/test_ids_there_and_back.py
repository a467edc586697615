"""Ids of an input come back as they were: what was a number is one, and the results merge with the input by it."""

IDS = [8, 12, 4012345]
