"""VAR in training, for PyTorch: teacher-forced input from the tokens, all scales at once, cross-entropy.

Written from the paper (arXiv 2404.02905) and the released files' names; the tokenizer's codes and phi convolutions
are frozen. B pictures, L tokens, C width, H heads, V codes.
"""
import math

import torch
import torch.nn.functional as F

from vqvae_training import spread


def linear(x, w, name):
    return F.linear(x, w[name + ".weight"], w[name + ".bias"])


@torch.no_grad()
def input_from_ids(ids, frozen, tokenizer):
    """What scales 1 and up read. ids B L -> B L-1 latent"""
    at, f_hat, parts = 0, 0, []
    sides = tokenizer["patchNums"]
    for k, pn in enumerate(sides[:-1]):
        f_hat = f_hat + spread(F.embedding(ids[:, at : at + pn * pn], frozen["quantize.embedding.weight"]), frozen, tokenizer, k)
        at += pn * pn
        small = F.interpolate(f_hat, size=(sides[k + 1],) * 2, mode="area") if sides[k + 1] != sides[-1] else f_hat
        parts.append(small.flatten(2).transpose(1, 2))
    return torch.cat(parts, 1)


def scales_and_mask(sides):
    scale_of = torch.tensor([k for k, pn in enumerate(sides) for _ in range(pn * pn)])
    mask = torch.zeros(len(scale_of), len(scale_of)).masked_fill_(scale_of[:, None] < scale_of[None], -math.inf)
    return scale_of, mask


def attention(x, w, name, heads, mask):
    B, L, C = x.shape
    bias = torch.cat([w[name + ".q_bias"], x.new_zeros(C), w[name + ".v_bias"]])
    q, k, v = F.linear(x, w[name + ".mat_qkv.weight"], bias).view(B, L, 3, heads, -1).permute(2, 0, 3, 1, 4)  # B H L d
    q = F.normalize(q, dim=-1) * w[name + ".scale_mul_1H11"].clamp(max=math.log(100)).exp()
    weights = (q @ F.normalize(k, dim=-1).transpose(-1, -2) + mask).softmax(-1)
    return linear((weights @ v).transpose(1, 2).reshape(B, L, C), w, name + ".proj")


def normed(x, scale, shift):
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=1e-6), scale + 1)


def logits_of(inputs, labels, masks, w, model, scale_of, mask):
    """inputs B L-1 latent, masks depth 2 B -> B L V"""
    cond = F.embedding(labels, w["class_emb.weight"])
    signal = F.silu(cond)
    x = torch.cat([cond.unsqueeze(1) + w["pos_start"], linear(inputs, w, "word_embed")], 1)
    x = x + (w["pos_1LC"] + F.embedding(scale_of, w["lvl_embed.weight"]))
    for i in range(model["depth"]):
        name = f"blocks.{i}"
        six = linear(signal, w, name + ".ada_lin.1").view(-1, 6, model["width"])
        gate1, gate2, scale1, scale2, shift1, shift2 = six.split(1, 1)  # B 1 C
        keep1, keep2 = masks[i].view(2, -1, 1, 1)
        x = x + attention(normed(x, scale1, shift1), w, name + ".attn", model["heads"], mask) * (gate1 * keep1)
        hidden = F.gelu(linear(normed(x, scale2, shift2), w, name + ".ffn.fc1"), approximate="tanh")
        x = x + linear(hidden, w, name + ".ffn.fc2") * (gate2 * keep2)
    scale, shift = linear(signal, w, "head_nm.ada_lin.1").view(-1, 2, model["width"]).split(1, 1)
    return linear(normed(x, scale, shift), w, "head")


def loss_and_reports(batch, w, frozen, model, tokenizer, made):
    """Mean cross-entropy; and what a trainer tells: loss of the last scale, share of likeliest codes that are true."""
    ids, labels, masks = batch
    rows = logits_of(input_from_ids(ids, frozen, tokenizer), labels, masks, w, model, *made).flatten(0, 1)
    each = F.cross_entropy(rows, ids.flatten(), reduction="none")
    with torch.no_grad():
        last = each.view(ids.shape)[:, -(tokenizer["patchNums"][-1] ** 2) :].mean().item()
        accuracy = (rows.argmax(-1) == ids.flatten()).float().mean().item()
    return each.mean(), last, accuracy
