"""Pure decisions: facts and ``now`` in, a decision out. No I/O, no clock, no chance."""
