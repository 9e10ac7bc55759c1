"""`python -m portgnn`: the same as the `portgnn` command."""

import sys

from portgnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
