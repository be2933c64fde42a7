"""A run as one page: who learned from whom round by round, what it gave, and what it cost."""
