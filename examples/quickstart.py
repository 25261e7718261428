"""MIHA on scikit-learn's handwritten digits: two minutes at most, on two cores.

    python examples/quickstart.py

It is `miha demo`: the same network, from the same poor start, with and without mutations, and
what a textbook would take instead. The script itself is `miha/demo/digits.py`.
"""

import sys

from miha.cli import main

sys.exit(main(["demo", *sys.argv[1:]]))
