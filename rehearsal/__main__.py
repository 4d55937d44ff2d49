"""`python -m rehearsal` is `rehearse`."""

import sys

from rehearsal.cli import main

sys.exit(main())
