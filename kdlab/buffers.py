"""Memory that a training step uses again.

Fresh memory for a large result is as dear as the result: the system hands it out page by page,
zeroed. A gradient of 9 million numbers takes 4 ms to fill and 26 ms where its memory is new.
"""

import torch


class Buffers:
    """Tensors by name, kept from one step to the next; what was in them is lost.

    Example:
        >>> buffers = Buffers()
        >>> buffers.get("logits", (700, 10_000)) is buffers.get("logits", (700, 10_000))
        True
    """

    def __init__(self) -> None:
        self._kept: dict[str, torch.Tensor] = {}

    def get(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> torch.Tensor:
        """A tensor of this shape and type, with any content; off the CPU a fresh one."""
        if torch.device(device).type != "cpu":
            return torch.empty(shape, dtype=dtype, device=device)
        kept = self._kept.get(name)
        if kept is None or kept.shape != shape or kept.dtype != dtype:
            kept = self._kept[name] = torch.empty(shape, dtype=dtype)
        return kept

    def gradient(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        """A float32 tensor for a weight's gradient, which autograd keeps without a copy.

        Where the weight has a gradient that another is to be added to, the memory is fresh.
        """
        if weight.grad is not None:
            return torch.empty_like(weight, dtype=torch.float32)
        # Another tensor on the same memory: autograd copies one that somebody else holds.
        return self.get(name, tuple(weight.shape), device=weight.device).detach()

    def __deepcopy__(self, memo: dict) -> "Buffers":
        return Buffers()
