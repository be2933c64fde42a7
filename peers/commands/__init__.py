"""The commands of one peer. A module or folder is named for the verb that a user types."""
