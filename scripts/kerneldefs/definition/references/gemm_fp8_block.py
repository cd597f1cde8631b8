import torch

BLOCK = 128
OUTPUT = "bfloat16"


def run(
    a: torch.Tensor, b: torch.Tensor, a_scale: torch.Tensor, b_scale: torch.Tensor
) -> torch.Tensor:
    dtypes = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    columns = a_scale.repeat_interleave(BLOCK, dim=1)[:, : a.shape[1]]
    rows = b_scale.repeat_interleave(BLOCK, dim=0)[: b.shape[0]]
    weight = b.float() * rows.repeat_interleave(BLOCK, dim=1)[:, : b.shape[1]]
    return ((a.float() * columns) @ weight.T).to(dtypes[OUTPUT])
