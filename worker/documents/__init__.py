"""Tables and templates in, prompts out: files of rows, their encodings, sandboxed templates, pilots of a few rows."""
