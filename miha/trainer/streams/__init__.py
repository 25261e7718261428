"""Data that is read anew for each epoch, because it is large or not made of arrays."""
