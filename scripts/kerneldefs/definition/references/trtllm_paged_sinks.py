from typing import Any

import torch
from kerneldefs.definition.references.parts.masked import causal_mask
from kerneldefs.definition.references.parts.sinks import attend_with_sinks

WINDOW_LEFT = -1  # keys further than this before their query are left out; -1 for none


def attention(
    query: torch.Tensor,
    kv_cache: torch.Tensor,
    block_tables: torch.Tensor,
    seq_lens: torch.Tensor,
    bmm1_scale: float,
    bmm2_scale: float,
    sinks: Any = None,
    cum_seq_lens_q: Any = None,
) -> torch.Tensor:
    output = torch.zeros_like(query)
    size = kv_cache.shape[3]  # the cache is [pages, keys and values, heads, page size, head dim]
    if sinks is None:
        sinks = torch.full(query.shape[1:2], float("-inf"), device=query.device)
    for i in range(seq_lens.shape[0]):
        first = i if cum_seq_lens_q is None else int(cum_seq_lens_q[i])
        last = i + 1 if cum_seq_lens_q is None else int(cum_seq_lens_q[i + 1])
        length = int(seq_lens[i])
        if last <= first or length == 0:
            continue
        pages = kv_cache[block_tables[i, : (length + size - 1) // size].long()]
        k, v = (pages[:, n].transpose(1, 2).flatten(0, 1)[:length] for n in (0, 1))
        seen = causal_mask(last - first, length, WINDOW_LEFT, query.device)
        found, _ = attend_with_sinks(query[first:last], k, v, sinks, bmm1_scale, seen)
        output[first:last] = (found * bmm2_scale).to(query.dtype)
    return output
