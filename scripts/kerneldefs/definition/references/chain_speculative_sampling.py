import torch


def run(
    draft_probs: torch.Tensor, draft_token_ids: torch.Tensor, target_probs: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rows, count = draft_token_ids.shape
    tokens = draft_token_ids.long()[..., None]
    target = target_probs.float()
    # A drafted token is accepted with the probability target / draft, or always if that is more.
    chance = target[:, :count].gather(-1, tokens) / draft_probs.float().gather(-1, tokens)
    chance = torch.nan_to_num(chance, nan=0.0, posinf=1.0).clamp(max=1.0)
    drawn = torch.multinomial(torch.cat([1.0 - chance, chance], dim=-1).flatten(0, 1), 1)
    accepted = drawn.reshape(rows, count) == 1
    emitted = accepted.int().cumprod(dim=1).sum(dim=1)
    # Those behind the first rejected one are looked at as well, and only counted.
    counted = accepted.sum(dim=1)
    # After the last emitted one comes a token of what the target has more than the draft.
    draft = torch.cat([draft_probs.float(), torch.zeros_like(target[:, :1])], dim=1)
    place = emitted.long()[:, None, None].expand(rows, 1, target.shape[2])
    rest = (target.gather(1, place) - draft.gather(1, place)).clamp(min=0)[:, 0]
    last = torch.multinomial(rest, 1)
    output = torch.full((rows, count + 1), -1, dtype=torch.int64, device=tokens.device)
    kept = torch.arange(count, device=tokens.device) < emitted[:, None]
    output[:, :count] = torch.where(kept, tokens[..., 0], output[:, :count])
    output = output.scatter(1, emitted.long()[:, None], last)
    return output.to(torch.int32), counted.to(torch.int32), emitted.to(torch.int32)
