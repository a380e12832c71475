"""Half precision on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import SimpleInferer


class BFloat16Inferer(SimpleInferer):
    """Run a network on a CPU in bfloat16; MONAI's engines have half precision on GPUs only.

    Convolutions compute in bfloat16, weights and gradients stay in float32, which needs no gradient scaler; the output
    is float32, so that the loss is exact. Training is faster if the CPU multiplies bfloat16 itself (``avx512_bf16`` or
    ``amx_bf16`` among its flags), otherwise slower.

    Args:
        enabled: False runs the network as it is; so does a GPU.
    """

    def __init__(self, enabled: bool = True) -> None:
        super().__init__()
        self.enabled = enabled

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        if not self.enabled or inputs.device.type != "cpu":
            return super().__call__(inputs, network, *args, **kwargs)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = super().__call__(inputs, network, *args, **kwargs)
        return outputs.float()
