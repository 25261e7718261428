"""Networks as files, and what is checked before a stranger's file is read."""
