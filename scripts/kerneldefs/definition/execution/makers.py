"""Small makers of inputs, each for one meaning that an input can have."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from kerneldefs.definition.execution.plan import Plan, split

LARGE = 1 << 22  # elements; larger tensors repeat a pattern of this many, which is much faster


@dataclasses.dataclass(frozen=True)
class Wanted:
    """One input to make."""

    name: str
    dims: tuple[str, ...] | None  # axis names; None for a scalar
    dtype: str
    definition: Mapping[str, Any]
    axes: Mapping[str, int]
    plan: Plan
    random: Any  # torch.Generator

    @property
    def shape(self) -> list[int]:
        """Return the sizes of its axes."""
        return [self.axes[dim] for dim in self.dims or ()]

    @property
    def experts(self) -> int:
        """Return the number of experts that tokens choose from."""
        return self.first("num_experts", "num_local_experts", default=8)

    def first(self, *names: str, default: int) -> int:
        """Return the size of the first of some axes that the definition has."""
        return next((self.axes[name] for name in names if name in self.axes), default)


Maker = Callable[[Wanted], Any]


def spread(wanted: Wanted, draw: Callable[[list[int]], Any]) -> Any:
    """Draw numbers for a shape; a pattern of them is repeated when there are very many."""
    count = math.prod(wanted.shape)
    if count <= LARGE:
        return draw(wanted.shape)
    pattern = draw([LARGE])
    if wanted.dtype.startswith("float"):
        pattern = pattern.to(getattr(torch, wanted.dtype))
    return pattern.repeat(-(-count // LARGE))[:count].reshape(wanted.shape)


def normal(scale: float) -> Maker:
    """Normal numbers of a standard deviation."""
    return lambda wanted: spread(
        wanted, lambda shape: torch.randn(shape, generator=wanted.random) * scale
    )


def between(low: float, high: float) -> Maker:
    """Uniform numbers."""
    return lambda wanted: spread(
        wanted, lambda shape: torch.rand(shape, generator=wanted.random) * (high - low) + low
    )


def whole(low: int, high: int) -> Maker:
    """Uniform integers from low to high - 1, both of which are a byte's."""
    return lambda wanted: torch.randint(
        low, high, wanted.shape, generator=wanted.random, dtype=torch.int8
    )


def fixed(value: float) -> Maker:
    """One value everywhere; a scalar's value."""
    return lambda wanted: torch.full(wanted.shape, value) if wanted.dims is not None else value


def cycled(*values: float) -> Maker:
    """Values in turn: one for each row of a batch."""

    def cycled(wanted: Wanted) -> Any:
        count = math.prod(wanted.shape)
        return torch.tensor(list(itertools.islice(itertools.cycle(values), count)))

    return cycled


def rows_of_many_sizes(wanted: Wanted) -> Any:
    """Rows whose mean square is far below, near and far above any epsilon."""
    rows = torch.randn(wanted.shape, generator=wanted.random)
    sizes = torch.tensor([1e-3, 1.0, 20.0])[torch.arange(wanted.shape[0]) % 3]
    return rows * sizes.reshape(-1, *[1] * (len(wanted.shape) - 1))


def rows_that_count(wanted: Wanted) -> Any:
    """How many of the rows of each group count: all, none, or some of them."""
    count, rows = math.prod(wanted.shape), wanted.first("M", "max_m", default=4)
    return torch.tensor([(rows * (3 - index % 4) + 2) // 3 for index in range(count)])


def offsets(wanted: Wanted) -> Any:
    """Where each request starts, and the end: of pages, keys or queries."""
    name, plan = wanted.name.lower(), wanted.plan
    parts: Sequence[int] = plan.queries
    if re.search(r"kv|_k$|pages", name):
        paged = "indptr" in name and any(a.startswith("num_kv_indices") for a in wanted.axes)
        parts = plan.pages if paged else plan.keys
    return torch.tensor([0, *itertools.accumulate(parts)])


def pages(wanted: Wanted) -> Any:
    """Different pages in no order; where there are too few, some are shared."""
    pages, count = wanted.first("num_pages", "num_blocks", default=1), math.prod(wanted.shape)
    order = torch.randperm(pages, generator=wanted.random)
    return order.repeat(-(-count // pages))[:count]


def block_offsets(wanted: Wanted) -> Any:
    """Where each row of blocks starts; rows have as many as each other, or one less."""
    rows, total = wanted.shape[0] - 1, wanted.first("nnz_blocks", default=4)
    return torch.tensor([total * row // rows for row in range(rows + 1)])


def blocks_of_rows(wanted: Wanted) -> Any:
    """The blocks of each row, one after the other, different ones in each row."""
    columns = wanted.axes["kv_len"] // wanted.axes["C"]
    return torch.arange(wanted.shape[0]) % columns


def block_sizes(wanted: Wanted) -> Any:
    """Uneven sizes of blocks that add up, the same for every head."""
    total = wanted.axes["qo_len" if "row" in wanted.name else "kv_len"]
    heads, count = wanted.shape
    return torch.tensor([split(total, count)] * heads)


def some_blocks(wanted: Wanted) -> Any:
    """About half of the blocks, at least one in a row."""
    chosen = torch.rand(wanted.shape, generator=wanted.random) < 0.5
    chosen[..., 0] = True
    return chosen


def last_page(wanted: Wanted) -> Any:
    plan = wanted.plan
    return torch.tensor([1 + (length - 1) % plan.page_size for length in plan.keys])


def key_lengths(wanted: Wanted) -> Any:
    return _each_request(wanted, wanted.plan.keys)


def query_lengths(wanted: Wanted) -> Any:
    return _each_request(wanted, wanted.plan.queries)


def _each_request(wanted: Wanted, numbers: Sequence[int]) -> Any:
    """A number for each request, the same in every row of a table."""
    count = math.prod(wanted.shape)
    return torch.tensor(list(itertools.islice(itertools.cycle(numbers), count)))


def requests(wanted: Wanted) -> Any:
    """Which request each token belongs to: of queries, or of keys where there are as many."""
    count, plan = math.prod(wanted.shape), wanted.plan
    parts = next((p for p in (plan.queries, plan.keys, plan.pages) if sum(p) == count), None)
    if parts is None:
        return torch.arange(count) * len(plan.queries) // max(1, count)
    return torch.tensor([index for index, length in enumerate(parts) for _ in range(length)])


def positions(wanted: Wanted) -> Any:
    places = torch.arange(math.prod(wanted.shape))
    return places % wanted.first("max_seq_len", "max_position_embeddings", "rope_len", default=64)


def places_in_requests(wanted: Wanted) -> Any:
    """Positions of each request's new tokens: the last ones of the pages that it has."""
    plan, owners = wanted.plan, requests(wanted).tolist()
    lengths = [
        (pages - 1) * plan.page_size + (keys - 1) % plan.page_size + 1
        for pages, keys in zip(plan.pages, plan.keys, strict=True)
    ]
    left, found = [owners.count(index) for index in range(len(lengths))], []
    for owner in owners:
        found.append(max(0, lengths[owner] - left[owner]))
        left[owner] -= 1
    return torch.tensor(found)


def in_turn(wanted: Wanted) -> Any:
    return torch.arange(math.prod(wanted.shape))


def chosen_experts(wanted: Wanted) -> Any:
    """Different experts for each token."""
    tokens, chosen = math.prod(wanted.shape[:-1]), wanted.shape[-1]
    scores = torch.rand(tokens, max(wanted.experts, chosen), generator=wanted.random)
    experts = scores.argsort(dim=-1)[:, :chosen] % wanted.experts
    if "routed_moe" not in wanted.definition["name"]:
        return experts
    # TensorRT-LLM's kernels take an expert in the upper 16 bits, its weight in bfloat16 below.
    weights = torch.rand(tokens, chosen, generator=wanted.random).bfloat16().view(torch.int16)
    return experts * 65536 + weights


def routing(wanted: Wanted) -> Any:
    """Scores of experts: the first few, which stay when experts are cut, are often chosen.

    The first token is sure to choose the first one. The last quarter holds one very good expert
    among bad ones, which routing by groups must lose.
    """
    scores = torch.randn(wanted.shape, generator=wanted.random)
    experts = wanted.shape[-1]
    scores[..., : min(4, experts)] += 1.5
    scores[..., experts - experts // 4 :] -= 3.0
    scores[..., -1] += 8.0
    scores[:1, ..., :1] += 8.0
    return scores


def fan_in(*axes: str) -> Maker:
    """Scales of weight codes whose products with a state of size one are of size one."""

    def scales(wanted: Wanted) -> Any:
        spread = torch.rand(wanted.shape, generator=wanted.random) + 0.5
        return spread * 2.0 / math.sqrt(wanted.first(*axes, default=1024))

    return scales


def probabilities(wanted: Wanted) -> Any:
    """Peaked ones, as a language model's are; each row sums to one."""
    return torch.softmax(torch.randn(wanted.shape, generator=wanted.random) * 4, dim=-1)


def weights_of_chosen(wanted: Wanted) -> Any:
    return torch.softmax(torch.randn(wanted.shape, generator=wanted.random), dim=-1)


def cos_sin(wanted: Wanted) -> Any:
    """Cosines, then sines, of position times frequency: [positions, rotary dims]."""
    half = wanted.shape[-1] // 2
    places = torch.arange(math.prod(wanted.shape[:-1]))[:, None]
    angles = places * 10000.0 ** (-torch.arange(half) / half)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def softmax_scale(wanted: Wanted) -> Any:
    query = wanted.first("head_dim_qk", "head_dim", "head_dim_ckv", "head_size", default=64)
    return query**-0.5


def groups(wanted: Wanted) -> Any:
    return wanted.first("n_group", default=8 if wanted.experts % 8 == 0 else 1)


def kept_groups(wanted: Wanted) -> Any:
    return wanted.first("topk_group", default=4 if wanted.experts % 8 == 0 else 1)


def axis(*names: str, default: int) -> Maker:
    """The size of an axis, for a scalar that repeats it."""
    return lambda wanted: wanted.first(*names, default=default)


def byte_scale(wanted: Wanted) -> Any:
    """Numbers near one: powers of two (MX formats: exponent 127 is one), else float8_e4m3."""
    mx = "mx" in wanted.definition["name"]
    low, high = (0x7D, 0x82) if mx else (0x30, 0x41)
    return spread(
        wanted, lambda shape: torch.randint(low, high, shape, generator=wanted.random).byte()
    )


def keys_then_scales(wanted: Wanted) -> Any:
    """Bytes of pages that hold FP8 keys, and behind them a float32 scale of each key."""
    pages, size, heads, width = wanted.shape
    keys = torch.randn(pages, size * heads * (width - 4), generator=wanted.random)
    scales = torch.rand(pages, size * heads, generator=wanted.random) + 0.5
    parts = [keys.to(torch.float8_e4m3fn).view(torch.int8), scales.view(torch.int8)]
    return torch.cat(parts, dim=1)
