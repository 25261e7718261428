"""The user's network: its copies, its layers, and which networks are admitted."""
