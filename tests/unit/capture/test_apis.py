"""The ledger of FlashInfer APIs that were called."""

from kerneldefs.capture.apis import api_ledger, unexplained
from kerneldefs.capture.record import KernelCall


def call(op, definition=None, template=None, count=1):
    return KernelCall(
        op=op,
        tensors={},
        scalars={},
        outputs=(),
        plan=None,
        state={},
        phase="decode",
        layer="",
        definition=definition,
        template=template,
        marks=(),
        count=count,
    )


def test_every_api_that_was_called_has_its_definitions_or_a_reason():
    found = api_ledger(
        [
            call("flashinfer.norm.rmsnorm", "rmsnorm_h8", "t", 2),
            call("flashinfer.norm.rmsnorm", "rmsnorm_h4", "t"),
            call("flashinfer.decode.W.plan"),
            call("flashinfer.page.append"),
            call("flashinfer.gemm.mm", None, "t"),
            call("torch.linear"),
        ]
    )
    assert found["flashinfer.norm.rmsnorm"] == {
        "calls": 3,
        "definitions": ["rmsnorm_h4", "rmsnorm_h8"],
        "why": "",
    }
    assert "run()" in found["flashinfer.decode.W.plan"]["why"]
    assert "no trace template" in found["flashinfer.page.append"]["why"]
    assert unexplained(found) == [
        "flashinfer.gemm.mm was called and FlashInfer dumped nothing of it"
    ]
    assert "torch.linear" not in found
