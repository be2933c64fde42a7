"""Commands of the learning package. A module is named for the verb that a user types."""
