"""`python -m minisegnet`, the same as the command `minisegnet`."""

import sys

from minisegnet.cli import main

sys.exit(main())
