"""Table 1's "C. Rate": how much smaller an embedding is than the full table."""

from kdcore.codes import symbol_bits

FLOAT_BITS = 32


def compression_rate(parameters: int, N: int, d: int) -> float:
    """Table 1's "C. Rate": trained embedding parameters over those of the full table, N·d."""
    return parameters / (N * d)


def compression_rate_with_codes(parameters: int, N: int, d: int, K: int, D: int) -> float:
    """The rate when the codes' N·D·⌈log2 K⌉ bits are counted too, at 32 bits a parameter."""
    return (parameters * FLOAT_BITS + N * D * symbol_bits(K)) / (N * d * FLOAT_BITS)
