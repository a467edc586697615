"""From rows to jobs: how a submission becomes a batch."""
