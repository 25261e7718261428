"""A run's folder on disk: its journal, tables, lock and text log."""
