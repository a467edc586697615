"""What ``--json`` prints: one shape for each thing, by topic, and one table (``outputs``) of what each command prints."""
