"""``python -m streamspread``: the command line."""

import os
import sys

# -m puts the current folder first, where a file named like a library would be taken for it. The installed
# command does not look there either, but for a model that is named as module:callable.
if not sys.flags.safe_path and sys.path and sys.path[0] in ("", os.getcwd()):
    del sys.path[0]

from streamspread.cli import main

sys.exit(main())
