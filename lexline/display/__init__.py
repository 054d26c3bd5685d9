"""Output on the terminal: sentences, tables and progress."""
