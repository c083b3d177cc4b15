"""The command line, as `python -m convlstm`."""

import sys

from convlstm.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
