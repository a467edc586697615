"""Jobs found by the words of what they ask and of their answers."""
