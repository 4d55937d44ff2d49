"""`python -m bot` is `dr`."""

import sys

from bot.cli import main

sys.exit(main())
