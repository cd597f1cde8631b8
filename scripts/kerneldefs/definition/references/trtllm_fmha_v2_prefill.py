import torch
from kerneldefs.definition.references.parts.attend import attend
from kerneldefs.definition.references.parts.masked import causal_mask


def run(
    qkv: torch.Tensor, cum_seq_lens_q: torch.Tensor, bmm1_scale: float, bmm2_scale: float
) -> torch.Tensor:
    output = torch.zeros_like(qkv[:, 0])
    for i in range(cum_seq_lens_q.shape[0] - 1):
        rows = slice(int(cum_seq_lens_q[i]), int(cum_seq_lens_q[i + 1]))
        q, k, v = qkv[rows].unbind(dim=1)
        seen = causal_mask(q.shape[0], q.shape[0], -1, qkv.device)
        output[rows] = (attend(q, k, v, bmm1_scale, seen)[0] * bmm2_scale).to(qkv.dtype)
    return output
