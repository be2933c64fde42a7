"""Reading history files: finding them, decoding them as a whole or from their ends, and naming unreadable bytes."""
