"""Sizes of quantised projections, counted by hand."""


def bytes_of_projection(scheme: str, n: int, k: int) -> int:
    """Bytes of the weights of a projection from k inputs to n outputs in a number format, without its bias."""
    padded_n, padded_k = -(-n // 16) * 16, -(-k // 32) * 32
    return {
        "fp32": 4 * n * k,
        "int8": n * k + 16 * n,  # a scale and a zero point of 8 bytes for each output
        "int8-weights": n * padded_k + 2 * n,
        "int4-weights": padded_n * padded_k // 2 + 4 * padded_n * (padded_k // 32),
    }[scheme]
