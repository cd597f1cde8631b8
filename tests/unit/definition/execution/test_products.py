"""Decoding in pieces gives what decoding as a whole by torch and by tables gives."""

from __future__ import annotations

import pytest
import torch
from kerneldefs.definition.execution import products
from kerneldefs.definition.execution.quantized import E2M1


def test_e4m3_is_torchs() -> None:
    codes = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn)
    expected = codes.float()
    found = products.e4m3(codes)
    assert found.dtype == torch.float32
    assert found.signbit().equal(torch.arange(256) >= 128)
    assert (found != expected).nonzero().flatten().tolist() == [0x7F, 0xFF]  # NaN
    assert products.e4m3(codes.view(16, 16)[:, 3:8]).equal(found.view(16, 16)[:, 3:8])
    assert products.e4m3(torch.ones(3).to(torch.float8_e5m2)).equal(torch.ones(3))


def test_e2m1_is_two_numbers_of_each_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [*E2M1, *(-size for size in E2M1)]
    codes = torch.arange(256, dtype=torch.uint8).view(torch.int8).reshape(4, 64)
    expected = [[numbers[byte % 16], numbers[byte // 16]] for byte in range(256)]
    whole = torch.tensor(expected, dtype=torch.float64).reshape(4, 128)
    for piece in (1 << 20, 7):
        monkeypatch.setattr(products, "_PIECE", piece)
        assert products.e2m1(codes).equal(whole)
        assert products.e2m1(codes.T).equal(whole.reshape(4, 64, 2).transpose(0, 1).flatten(1))


@pytest.mark.parametrize("piece", [1, 37, 16 * 9, 1 << 20])
def test_a_product_in_pieces_is_that_of_the_whole(
    piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "_PIECE", piece)
    left, right = torch.randn(3, 16).bfloat16(), torch.randn(9, 16).bfloat16()
    found = products.transposed(left, right)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, left.double() @ right.double().T)


@pytest.mark.parametrize("piece", [1, 64 * 130, 1 << 20])
def test_a_matrix_with_scales_in_tiles_is_whole(
    piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = torch.randint(0, 256, (260, 32), dtype=torch.uint8)
    scales = torch.randint(0x20, 0x50, (384, 4), dtype=torch.uint8)
    factors = scales.view(torch.float8_e4m3fn).double()
    expected = products.e2m1(codes)
    for row in range(260):
        for column in range(64):
            block = column // 16
            place = row // 128 * 512 + row % 32 * 16 + row % 128 // 32 * 4 + block
            expected[row, column] *= factors.flatten()[place]
    monkeypatch.setattr(products, "_PIECE", piece)
    assert products.nvfp4_matrix(codes, scales).equal(expected)
