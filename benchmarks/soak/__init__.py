"""Is anything lost or done twice while everything breaks? Thousands of jobs, and trouble by a seeded plan."""
