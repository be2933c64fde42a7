"""Trust rows from evidence about neighbours, the record of them, and the commands that show it. No torch."""
