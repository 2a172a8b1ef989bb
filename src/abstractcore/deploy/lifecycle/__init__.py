"""The life of a deployment: checked, made, proved, watched and ended."""
