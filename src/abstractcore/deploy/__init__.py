"""Getting vLLM to run: on this machine as a process, or in containers."""
