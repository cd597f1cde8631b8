"""References of each family that has an independent implementation, with places for mistakes."""

NORM = """
import torch

EPS = {eps}

def run(hidden_states, {residual}weight):
    x = hidden_states.float(){plus}
    scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS)
    return (x * scale * (weight.float(){one})).to(torch.bfloat16)
"""
MERGE = """
import torch

def run(v_a, s_a, v_b, s_b):
    s = {logaddexp}(s_a, s_b)
    a, b = ({exp}(part - s)[..., None] for part in (s_a, s_b))
    return v_a * a + v_b * b, s
"""
RENORM = """
import torch

def run(probs, top_p):
    p, order = torch.sort(probs, dim=-1, descending=True)
    kept = torch.where(p.cumsum(-1){minus} < top_p[:, None], p, torch.zeros_like(p))
    kept = kept / kept.sum(-1, keepdim=True)
    return torch.zeros_like(probs).scatter_(-1, order, kept)
"""
TRTLLM = """
import torch

def run(query, kv_cache, block_tables, seq_lens, bmm1_scale, bmm2_scale{offsets}):
    output = torch.zeros_like(query)
    heads, kv_heads = query.shape[1], kv_cache.shape[{heads}]
    for i in range(block_tables.shape[0]):
        rows = {rows}
        n = int(seq_lens[i]){short}
        pages = kv_cache[block_tables[i].long()]{swapped}
        k, v = (pages[:, j].reshape(-1, kv_heads, query.shape[2])[:n] for j in (0, 1))
        k, v = (t.repeat_interleave(heads // kv_heads, dim=1) for t in (k, v))
        logits = torch.einsum("qhd,khd->hqk", query[rows], k) * bmm1_scale
        count = logits.shape[1]
        hidden = torch.arange(n)[None] > torch.arange(count)[:, None] + n - count
        weights = torch.softmax(logits.masked_fill(hidden, -float("inf")), -1)
        output[rows] = torch.einsum("hqk,khd->qhd", weights, v) * bmm2_scale
    return output
"""
DENSE = """
import torch

def run(query, kv_cache, block_tables, seq_lens, bmm1_scale, bmm2_scale):
    output = query.new_zeros(*query.shape[:3], 16)
    for i in range(len(query)):
        keys = kv_cache[block_tables[i].long()].reshape(-1, query.shape[3])[: int(seq_lens[i])]
        weights = torch.softmax(query[i] @ keys.T * bmm1_scale, -1)
        output[i] = weights @ keys[:, :{values}] * bmm2_scale
    return output
"""
GEMM = "def run(A, B):\n    return A @ B{t}\n"
SILU = """
import torch

def run(x):
    gate, up = x.chunk(2, dim=-1)
    return torch.nn.functional.{act}(gate) * up
"""


ROUTED = """
import torch

def routed(scores, bias, groups, kept, k, scale):
    s = torch.sigmoid(scores.float())
    biased = (s + bias).reshape(len(s), groups, -1)
    best = biased.topk({sum_of}, dim=-1).values.sum(-1).topk(kept, dim=-1).indices
    closed = torch.ones(len(s), groups, dtype=torch.bool).scatter_(1, best, False)
    open_ = biased.masked_fill(closed[:, :, None], -1e9).reshape(len(s), -1)
    ids = open_.topk(k, dim=-1).indices
    weights = {weights}.gather(1, ids)
    return weights / weights.sum(-1, keepdim=True) * scale, ids
"""
TOPK = """
def run(scores, bias, n_group, topk_group, routed_scaling_factor):
    weights, ids = routed(scores, bias, n_group, topk_group, 4, routed_scaling_factor)
    return weights, ids.to(torch.int32)
"""
EXPERTS = """
def blocks(x, scale):
    for dim in range(x.dim()):
        scale = scale.repeat_interleave(x.shape[dim] // scale.shape[dim], dim=dim)
    return x.float() * scale

def experts(weights, ids, x, sx, w1, s1, w2, s2, offset):
    x, w1, w2 = blocks(x, sx.T), blocks(w1, s1), blocks(w2, s2)
    y = torch.zeros(x.shape[0], w2.shape[1])
    for i in range(len(ids)):
        for weight, e in zip(weights[i], ids[i]):
            local = int(e) - offset
            if 0 <= local < len(w1):
                {halves} = (x[i] @ w1[local].T).chunk(2)
                y[i] += weight * ((torch.nn.functional.silu(gate) * up) @ w2[local].T)
    return y.to(torch.bfloat16)
"""
DS = """
def run(logits, bias, x, sx, w1, s1, w2, s2, offset, scale):
    return experts(*routed(logits, bias, 4, 2, 4, scale), x, sx, w1, s1, w2, s2, offset)
"""
RENORMALISED = """
def run(logits, x, sx, w1, s1, w2, s2, offset, scale):
    values, ids = logits.float().{topk}
    return experts(torch.softmax(values, -1){scale}, ids, x, sx, w1, s1, w2, s2, offset)
"""
