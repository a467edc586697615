"""Caravan: bulk text generation on a fleet of Ollama hosts. Importing this package does nothing."""
