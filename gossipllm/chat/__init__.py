"""Talking with a model: a conversation, an answer token by token, and text that a terminal may show."""
