"""What a model needs on each GPU: pure functions of its configuration and its tensors."""
