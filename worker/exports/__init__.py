"""Results on their way out: as lines, rows, tables and files."""
