"""What `miha demo` trains."""
