"""What meta kernels say of an operator alone is what FakeTensorMode says of it."""

import pytest
import torch
from kerneldefs.capture.simulate import device, direct
from kerneldefs.capture.simulate.values import CUDA0, FAKE
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten


@pytest.fixture(scope="module", autouse=True)
def device_guard():
    device._install_device_guard()


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)


def _tensor(*shape: int, dtype: torch.dtype = torch.bfloat16, strides=None):
    with FAKE:
        whole = torch.empty(shape, dtype=dtype, device=CUDA0)
        return whole if strides is None else whole.as_strided(*strides)


CALLS = [
    (
        aten._to_copy.default,
        lambda: (_tensor(4, 6, strides=((6, 4), (1, 6))),),
        {"dtype": torch.int8},
    ),
    (aten.add.Tensor, lambda: (_tensor(4, 1), _tensor(6, dtype=torch.float32)), {"alpha": 2}),
    (aten._softmax.default, lambda: (_tensor(4, 6, strides=((6, 4), (1, 6))), -1, False), {}),
    (aten._softmax.default, lambda: (_tensor(4, 6), -1, True), {}),
    (aten._unsafe_view.default, lambda: (_tensor(4, 6), [2, -1]), {}),
    (aten.add_.Tensor, lambda: (_tensor(4, 6), _tensor(6, dtype=torch.float32)), {}),
    (aten.addmm.default, lambda: (_tensor(9), _tensor(4, 6), _tensor(6, 9)), {}),
    (aten.argmax.default, lambda: (_tensor(4, 6), -1), {}),
    (aten.argmax.default, lambda: (_tensor(4, 6),), {}),
    (aten.bmm.default, lambda: (_tensor(2, 4, 6), _tensor(2, 6, 9)), {}),
    (
        aten.bmm.default,
        lambda: (_tensor(4, 2, 6, strides=((2, 4, 6), (6, 12, 1))), _tensor(2, 6, 9)),
        {},
    ),
    (aten.cat.default, lambda: ([_tensor(4, 6), _tensor(4, 2, dtype=torch.float32)], -1), {}),
    (aten.cat.default, lambda: ([_tensor(4, 6), _tensor(0)],), {}),
    (aten.constant_pad_nd.default, lambda: (_tensor(4, 6), [1, 2], 1.0), {}),
    (aten.constant_pad_nd.default, lambda: (_tensor(4, 6), [0, 0]), {}),
    (aten.cumsum.default, lambda: (_tensor(4, dtype=torch.int32), 0), {}),
    (
        aten.cumsum.default,
        lambda: (_tensor(4, 6, strides=((6, 4), (1, 6))), 0),
        {"dtype": torch.float32},
    ),
    (aten.div.Tensor, lambda: (_tensor(4, 6), _tensor(4, 6, strides=((4, 6), (1, 4)))), {}),
    (aten.div.Tensor, lambda: (_tensor(4, dtype=torch.int32), 3), {}),
    (aten.div_.Tensor, lambda: (_tensor(4, 6), _tensor(6, dtype=torch.float32)), {}),
    (aten.gt.Scalar, lambda: (_tensor(4, 6, strides=((6, 4), (1, 6))), 3), {}),
    (aten.mm.dtype, lambda: (_tensor(4, 6), _tensor(6, 9), torch.float32), {}),
    (aten.mul_.Tensor, lambda: (_tensor(4, 6), 2.0), {}),
    (aten.numpy_T.default, lambda: (_tensor(4, 6),), {}),
    (aten.reciprocal.default, lambda: (_tensor(4, dtype=torch.int32),), {}),
    (aten.reshape.default, lambda: (_tensor(4, 6), [2, -1]), {}),
    (aten.reshape.default, lambda: (_tensor(4, 6, strides=((6, 4), (1, 6))), [2, -1]), {}),
    (aten.reshape.default, lambda: (_tensor(4, 6), [4, 6]), {}),
    (aten.sigmoid.default, lambda: (_tensor(4, 6, strides=((6, 4), (1, 6))),), {}),
    (aten.split_with_sizes.default, lambda: (_tensor(4, 6), [1, 2, 3], -1), {}),
    (aten.squeeze.default, lambda: (_tensor(4, 1, 6, 1),), {}),
    (aten.sub.Tensor, lambda: (_tensor(4, 1), _tensor(6, dtype=torch.float32)), {"alpha": 2}),
    (aten.sub.Tensor, lambda: (_tensor(4, dtype=torch.int64), 1), {}),
    (aten.sub.Tensor, lambda: (_tensor(4), _tensor(dtype=torch.float32)), {}),
    (aten.fill_.Tensor, lambda: (_tensor(4, 6), torch.tensor(2.0)), {}),
    (aten.fill_.Tensor, lambda: (_tensor(4, 6), _tensor()), {}),
    (aten.arange.default, lambda: (9,), {"device": CUDA0, "pin_memory": False}),
    (aten.arange.start, lambda: (2, 9.5), {"device": CUDA0}),
    (aten.arange.start_step, lambda: (2, 9, 2), {"dtype": torch.float32, "device": CUDA0}),
    (aten.new_full.default, lambda: (_tensor(4, 6), [3], 7), {"pin_memory": False}),
    (aten.new_zeros.default, lambda: (_tensor(4, 6), [3]), {"dtype": torch.int8}),
    (
        aten.ones_like.default,
        lambda: (_tensor(4, 6, strides=((6, 4), (1, 6))),),
        {"pin_memory": False},
    ),
    (aten.mm.default, lambda: (_tensor(4, 6), _tensor(6, 9)), {}),
    (aten.mul.Tensor, lambda: (_tensor(4, 6, strides=((6, 4), (1, 6))), 2.0), {}),
    (aten.mul.Tensor, lambda: (_tensor(4, 6, dtype=torch.int32), _tensor(4, 6)), {}),
    (aten.alias.default, lambda: (_tensor(4, 6),), {}),
    (aten.as_strided.default, lambda: (_tensor(4, 6), (2, 3), (1, 4), 2), {}),
    (aten.clone.default, lambda: (_tensor(4, 6, strides=((6, 4), (1, 6))),), {}),
    (
        aten.clone.default,
        lambda: (_tensor(4, 6, strides=((6, 4), (1, 6))),),
        {"memory_format": torch.contiguous_format},
    ),
    (aten.copy_.default, lambda: (_tensor(4, 6), _tensor(6, dtype=torch.float32)), {}),
    (aten.detach.default, lambda: (_tensor(4, 6),), {}),
    (aten.expand.default, lambda: (_tensor(4, 1), [3, 4, 6]), {}),
    (aten.fill_.Scalar, lambda: (_tensor(4, 6), 2.0), {}),
    (aten.index.Tensor, lambda: (_tensor(4, 6), [_tensor(9, dtype=torch.int64)]), {}),
    (aten.index.Tensor, lambda: (_tensor(4, 6), [_tensor(2, 3, dtype=torch.int32)]), {}),
    (aten.index.Tensor, lambda: (_tensor(4, 6, 5), [None, _tensor(9, dtype=torch.int64)]), {}),
    (aten.index.Tensor, lambda: (_tensor(4, 1), [None, _tensor(1, 3, dtype=torch.int64)]), {}),
    (aten.permute.default, lambda: (_tensor(4, 6, 8), [2, 0, 1]), {}),
    (aten.select.int, lambda: (_tensor(4, 6), 0, 3), {}),
    (aten.slice.Tensor, lambda: (_tensor(4, 6), 1, 1, 5, 2), {}),
    (aten.squeeze.dim, lambda: (_tensor(4, 1, 6), 1), {}),
    (aten.t.default, lambda: (_tensor(4, 6),), {}),
    (aten.transpose.int, lambda: (_tensor(4, 6, 8), 0, 2), {}),
    (aten.unsqueeze.default, lambda: (_tensor(4, 6), -1), {}),
    (aten.view.default, lambda: (_tensor(4, 6), [2, -1]), {}),
    (aten.view.dtype, lambda: (_tensor(4, 6), torch.uint8), {}),
    (aten.zero_.default, lambda: (_tensor(4, 6),), {}),
    (aten.empty.memory_format, lambda: ([4, 6],), {"dtype": torch.float16, "device": CUDA0}),
    (aten.empty_like.default, lambda: (_tensor(4, 6, strides=((6, 4), (1, 6))),), {}),
    (aten.empty_strided.default, lambda: ([4, 6], [1, 4]), {"device": CUDA0}),
    (aten.full.default, lambda: ([4], 7), {"device": CUDA0, "pin_memory": False}),
    (aten.new_empty.default, lambda: (_tensor(4, 6), [3]), {"dtype": torch.int8}),
    (aten.ones.default, lambda: ([4],), {"dtype": torch.bool, "device": CUDA0}),
    (aten.zeros.default, lambda: ([4],), {"device": CUDA0}),
    (aten.zeros_like.default, lambda: (_tensor(4, 6),), {"dtype": torch.float32}),
]


def _said(out, args):
    """Everything that a capture can read of a result, and which argument it shares memory with."""
    tensors = [a for a in tree_leaves(args) if isinstance(a, torch.Tensor)]
    if isinstance(out, list):
        return [_said(part, args) for part in out]
    return (
        tuple(out.shape),
        out.stride(),
        out.storage_offset(),
        out.dtype,
        out.device,
        out.requires_grad,
        [out is tensor for tensor in tensors],
        [out.untyped_storage()._cdata == t.untyped_storage()._cdata for t in tensors],
    )


@pytest.mark.parametrize(
    ("func", "arguments", "options"), CALLS, ids=[str(call[0]) for call in CALLS]
)
def test_the_same_as_fake_tensor_mode(func, arguments, options):
    args = arguments()
    with FAKE:
        expected = _said(func(*args, **options), args)
    args = arguments()
    assert _said(direct.run(func, args, options), args) == expected


def test_every_listed_operator_is_compared():
    assert {call[0] for call in CALLS} == {
        *direct._ON_TENSORS,
        *direct._NEW,
        aten._to_copy.default,
        aten.fill_.Tensor,
        aten.index.Tensor,
    }


@pytest.mark.parametrize(
    ("func", "args", "options"),
    [
        (aten.exp.default, lambda: (_tensor(4),), {}),
        (aten.cat.default, lambda: ([_tensor(4), torch.empty(4)],), {}),
        (aten.fill_.Tensor, lambda: (torch.empty(4), _tensor()), {}),
        (aten.fill_.Tensor, lambda: (_tensor(4), _tensor(1)), {}),
        (aten.new_zeros.default, lambda: (_tensor(4), [3]), {"device": torch.device("cpu")}),
        (aten._to_copy.default, lambda: (_tensor(4),), {"device": torch.device("cpu")}),
        (aten.copy_.default, lambda: (torch.empty(4), _tensor(4)), {}),
        (aten.copy_.default, lambda: (_tensor(4), torch.empty(4)), {}),
        (aten.empty.memory_format, lambda: ([4],), {"device": torch.device("cpu")}),
        (aten.index.Tensor, lambda: (_tensor(4), [_tensor(4, dtype=torch.bool)]), {}),
        (aten.index.Tensor, lambda: (_tensor(4), [torch.tensor([1])]), {}),
        (aten.index.Tensor, lambda: (_tensor(4, 6).t(), [_tensor(4, dtype=torch.int64)]), {}),
        (aten.index.Tensor, lambda: (_tensor(4, 1, 6), [_tensor(dtype=torch.int64)]), {}),
        (aten.index.Tensor, lambda: (_tensor(4, 6), [_tensor(4, dtype=torch.int64)] * 2), {}),
    ],
)
def test_what_fake_tensor_mode_has_rules_for_is_left_to_it(func, args, options):
    assert direct.run(func, args(), options) is NotImplemented
