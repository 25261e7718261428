"""One run: its set-up, its loop, and how it goes on after an interruption."""
