"""The gateway: OpenAI's HTTP interface in front of any backend, with the one promise kept at the gate."""
