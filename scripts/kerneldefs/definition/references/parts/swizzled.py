import torch


def from_128x4(scales: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    # Scales in tiles of 128 rows and 4 columns, a tile as [32, 4, 4]: row % 32, row // 32, column.
    tiles = scales.reshape(-1, -(-rows // 128), -(-columns // 4), 32, 4, 4)
    grid = tiles.permute(0, 1, 4, 3, 2, 5).flatten(1, 3).flatten(2, 3)
    return grid[:, :rows, :columns]
