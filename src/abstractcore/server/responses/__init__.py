"""OpenAI's Responses, on backends that have them: passed on, watched, and proved where something is promised."""
