"""The trainer on TensorFlow."""
