"""The embedded stack: everything in one process, nothing to install."""
