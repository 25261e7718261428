"""The trainer on JAX."""
