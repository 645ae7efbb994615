"""Ways to run a model: in pieces, compiled, at lower precision. Each takes a ``Dynamics`` and is one."""
