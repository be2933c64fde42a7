"""What a running peer prints."""
