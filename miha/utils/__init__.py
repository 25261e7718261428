"""What every room uses: JSON values, optional imports, checksums of code, warnings."""
