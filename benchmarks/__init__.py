"""What does the queue itself cost? Measured beside what an engineer would otherwise write."""
