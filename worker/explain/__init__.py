"""Why does nothing move, what does this job wait for, and what costs the time? In words."""
