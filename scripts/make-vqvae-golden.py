"""Writes test/fixtures/vqvae-losses/: every loss of the tokenizer's training and its gradients, for test/golden.

/usr/bin/python3 scripts/make-vqvae-golden.py     (torch 1.13)

PyTorch's own autograd in float64 on the textbook way through the adversarial term (bench/peers/vqvae_training.py);
weights and pictures are rounded to float32 first, so that both sides begin with the same numbers.
"""

import json
import os
import sys

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "bench", "peers"))
sys.dont_write_bytecode = True
from shared import write_safetensors  # noqa: E402
from vqvae_training import textbook  # noqa: E402

MODEL = {
    "channels": 4, "chMult": [1, 2], "resBlocks": 1, "attention": True, "midAttention": True, "groups": 2,
    "latent": 4, "codes": 12, "patchNums": [1, 2, 4], "phiSharing": "partial", "phis": 4, "quantResi": 0.5,
    "usingZnorm": False, "beta": 0.25, "codebookInit": -1,
}
RECIPE = {
    "l1": 0.7, "l2": 1.1, "vq": 0.9, "perceptualWeight": 0.6, "entropy": 0.1,
    "gan": 0.5, "lecam": 0.05, "ganChannels": 8, "ganLayers": 2,
}
WIDTHS = [8, 16]
OBLONG = [1, [2, 3], [4, 6]]  # height, width

MEANS = {"real": 0.1, "fake": -0.2}
chance = np.random.RandomState(20261122)


def tensor(*shape, scale=1.0, around=0.0):
    return torch.from_numpy((around + scale * chance.standard_normal(shape)).astype(np.float32))


def conv(name, come, go, size=3):
    return {name + ".weight": tensor(go, come, size, size, scale=(come * size * size) ** -0.5), name + ".bias": tensor(go, scale=0.1)}


def norm(name, width):
    return {name + ".weight": tensor(width, scale=0.2, around=1.0), name + ".bias": tensor(width, scale=0.1)}


def block(name, come, go):
    short = {} if come == go else conv(name + ".nin_shortcut", come, go, 1)
    return {**norm(name + ".norm1", come), **conv(name + ".conv1", come, go), **norm(name + ".norm2", go), **conv(name + ".conv2", go, go), **short}


def attention(name, width):
    return {**norm(name + ".norm", width), **conv(name + ".qkv", width, 3 * width, 1), **conv(name + ".proj_out", width, width, 1)}


def middle(name, width):
    return {**block(name + ".block_1", width, width), **attention(name + ".attn_1", width), **block(name + ".block_2", width, width)}


def weights():
    c, wide, latent = 4, 8, 4
    own = {
        **conv("encoder.conv_in", 3, c), **block("encoder.down.0.block.0", c, c), **conv("encoder.down.0.downsample.conv", c, c),
        **block("encoder.down.1.block.0", c, wide), **attention("encoder.down.1.attn.0", wide), **middle("encoder.mid", wide),
        **norm("encoder.norm_out", wide), **conv("encoder.conv_out", wide, latent), **conv("quant_conv", latent, latent),
        **conv("post_quant_conv", latent, latent), **conv("decoder.conv_in", latent, wide), **middle("decoder.mid", wide),
    }
    for i in (0, 1):
        own.update({**block(f"decoder.up.1.block.{i}", wide, wide), **attention(f"decoder.up.1.attn.{i}", wide)})
    own.update({**conv("decoder.up.1.upsample.conv", wide, wide), **block("decoder.up.0.block.0", wide, c), **block("decoder.up.0.block.1", c, c)})
    own.update({**norm("decoder.norm_out", c), **conv("decoder.conv_out", c, 3)})
    for i in range(4):
        own.update(conv(f"quantize.quant_resi.qresi_ls.{i}", latent, latent))
    own["quantize.embedding.weight"] = tensor(12, latent, scale=0.6)
    judge = {**conv("judge.0.conv", 3, 8, 4), **conv("judge.1.conv", 8, 16, 4), **norm("judge.1.norm", 16), **conv("judge.out", 16, 1)}
    frozen = {**conv("stem", 3, WIDTHS[0]), **norm("levels.0.norm1", 8), **conv("levels.0.down", 8, 16), **norm("levels.0.norm2", 16), **conv("levels.0.conv", 16, 16), **norm("norm", 16)}
    return own, judge, frozen


def main():
    own, judge, frozen = weights()
    images = tensor(2, 3, 8, 8, scale=0.5).clamp(-1, 1)
    arrays = {"images": images, **{f"frozen.{n}": t for n, t in frozen.items()}}
    arrays.update({f"weight.{n}": t for n, t in {**own, **judge}.items()})
    facts = {}
    oblong = tensor(2, 3, 8, 12, scale=0.5).clamp(-1, 1)
    arrays["oblong.images"] = oblong
    cases = {"distance": ({}, images), "cosine": ({"usingZnorm": True}, images), "oblong": ({"patchNums": OBLONG}, oblong)}
    for case, (change, pictures) in cases.items():
        recipe = {**RECIPE, "model": {**MODEL, **change}}
        w = {n: t.double().requires_grad_() for n, t in {**own, **judge}.items()}
        fixed = {n: t.double() for n, t in frozen.items()}
        out = textbook(pictures.double(), w, fixed, recipe, MEANS, 0.4)
        ids, opponent, objective = out.pop("ids"), out.pop("opponent"), out.pop("objective")
        arrays[f"{case}.ids"] = ids
        facts[case] = {name: float(value) for name, value in out.items()}
        mine = [n for n in own]
        grads = torch.autograd.grad(objective, [w[n] for n in mine], retain_graph=True, allow_unused=True)
        theirs = torch.autograd.grad(opponent, [w[n] for n in judge])
        for n, g in [*zip(mine, grads), *zip(judge, theirs)]:
            if g is not None:
                arrays[f"{case}.grad.{n}"] = g.float()
    folder = os.path.join(HERE, "..", "test", "fixtures", "vqvae-losses")
    os.makedirs(folder, exist_ok=True)
    write_safetensors(os.path.join(folder, "losses.safetensors"), {n: t.detach() for n, t in arrays.items()})
    with open(os.path.join(folder, "losses.json"), "w") as file:
        json.dump({"torch": torch.__version__, "recipe": {**RECIPE, "model": MODEL}, "widths": WIDTHS, "means": MEANS, "ganWeight": 0.4, "oblong": OBLONG, "losses": facts}, file, indent=1)
        file.write("\n")


main()
