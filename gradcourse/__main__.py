"""``python -m gradcourse`` is the same as the command ``gradcourse``."""

import sys

from gradcourse.cli import main

if __name__ == "__main__":
    sys.exit(main())
