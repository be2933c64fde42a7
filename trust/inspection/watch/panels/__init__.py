"""What the live view draws: the matrix, pages over it, the status line. No files are read here."""
