"""The only SQL. Functions take an open connection and ``now``; the caller owns the transaction."""
