"""From what a host sent to what a producer gets. Pure."""
