"""`python -m yunhe` is the same as `yunhe`."""

from __future__ import annotations

from yunhe.cli import main

if __name__ == "__main__":
    main()
