"""Chatting with a model: the conversation, answers token by token, and text that is safe to show in a terminal."""
