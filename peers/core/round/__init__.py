"""This peer's own round: train, save, announce, gather, choose a row, merge. The table of stages is in `stages.py`."""
