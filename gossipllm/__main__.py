"""`python -m gossipllm` is `gossipllm`."""

from __future__ import annotations

from gossipllm.cli import main

if __name__ == "__main__":
    main()
