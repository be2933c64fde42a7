"""Drawing of the live view: the matrix, pages over it, the status line. Reads no files."""
