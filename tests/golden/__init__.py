"""Golden traces: what the code computed when the published numbers were measured.

A run's address has the NUMERICS of its kinds in it, not a hash of code. A kind whose results move
and whose NUMERICS stays would put new numbers under an old address; the traces fail then. They
are short (some 20 steps), on data made from fixed seeds, and stored in the JSON files beside this
one: the values, and the NUMERICS they belong to.

    python -m tests.golden                             which traces differ
    python -m tests.golden --renew training/table ...  store these anew
"""
