"""``python -m miha``."""

from __future__ import annotations

import sys

from miha.cli import main

if __name__ == "__main__":
    sys.exit(main())
