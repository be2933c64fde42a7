"""The memory that a pass takes, estimated before it starts."""
