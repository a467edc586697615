"""One host served: what it holds, what its slots do, and how answers reach the database."""
