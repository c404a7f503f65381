"""`python -m kdcore` is the command `kdcore`."""

import sys

from kdcore.command import main

sys.exit(main())
