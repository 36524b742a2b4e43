"""``python -m streamspread``: the command line."""

import sys

from streamspread.cli import main

sys.exit(main())
