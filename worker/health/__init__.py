"""Health: gathers facts, derives findings from them, and notifies the operators."""
