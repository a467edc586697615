"""What does the queue itself cost? Measured beside what an engineer would otherwise write."""

import os

# A user's modules are compiled when they are installed. Where the environment forbids to keep them, each process that is
# measured would compile Caravan anew, and what it is compared with not.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
