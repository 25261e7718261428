"""A run as tables, finished or not."""
