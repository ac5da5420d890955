"""`python -m slmbench`, and `accelerate launch -m slmbench` for several processes."""

import sys

from slmbench.cli import main

sys.exit(main())
