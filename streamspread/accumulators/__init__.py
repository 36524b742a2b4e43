"""Running state from which a layer's spectrum follows: one contract, several ways to keep it.

Every accumulator has ``update(x_ND)``, ``end_pass()``, ``merge(other)`` and ``spectrum(...)``, and the static
``nbytes(...)`` and ``passes(...)`` by which the planner chooses without allocating anything.
"""
