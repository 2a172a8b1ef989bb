"""Anthropic's Messages, on backends that have them: passed on, watched, and proved where something is promised."""
