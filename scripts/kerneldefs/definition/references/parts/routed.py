import torch


def unpacked(topk_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    # An expert in the upper 16 bits, its weight in bfloat16 in the lower ones.
    experts = topk_ids // 65536
    bits = topk_ids - 65536 * experts
    bits = torch.where(bits >= 32768, bits - 65536, bits).to(torch.int16)
    return bits.view(torch.bfloat16).float(), experts
