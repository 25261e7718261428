"""Runs in the tools that people use already: each module needs its own optional package."""
