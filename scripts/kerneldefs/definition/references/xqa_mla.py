import torch
from kerneldefs.definition.references.parts.attend import attend

VALUE_DIM = 512


def run(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    page_table: torch.Tensor,
    seq_lens: torch.Tensor,
) -> torch.Tensor:
    batch, beams, heads, _ = q.shape
    output = torch.zeros(batch, beams, heads, VALUE_DIM, dtype=torch.bfloat16, device=q.device)
    for i in range(batch):
        for beam in range(beams):
            count = int(seq_lens[i, beam])
            pages = page_table[i, : -(-count // k_cache.shape[1])].long()
            k, v = (cache[pages].flatten(0, 1)[:count] for cache in (k_cache, v_cache))
            # The kernel leaves the factor of the logits to the caller's scales.
            found, _ = attend(q[i, beam, None], k, v[..., :VALUE_DIM], 1.0)
            output[i, beam] = found[0].to(torch.bfloat16)
    return output
