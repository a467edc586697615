"""Is all well? Facts are gathered, findings follow from them, and whoever has to know is told."""
