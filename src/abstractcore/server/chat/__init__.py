"""Chats and text completions: what is passed on as it is, what is proved, and how both answer."""
