"""Backends that run in this process: models in memory, asked in OpenAI's protocol without a socket.

``engine`` says what an engine is, ``answers`` puts what it generates into the protocol's JSON, ``host`` runs it in a
thread of its own, ``transport`` stands where HTTP stands elsewhere, and ``provider`` is what the backends share.
"""
