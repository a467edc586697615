"""What the work came to, and the notices that say so."""
