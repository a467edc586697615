"""What happened: the published list of events, and how they become log lines."""
