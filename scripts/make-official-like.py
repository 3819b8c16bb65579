"""Writes a genuine .pth as large as an official checkpoint, with made-up weights. Needs PyTorch; Underpaint does not.

python3 scripts/make-official-like.py LAYOUT.tsv OUT.pth [--seed N] [--trainer] [--legacy]

The weights are those of scripts/make-official-like.ts: hashes of their places. torch.save wants all tensors at once, so
each is filled in pieces and lies in a mapped file beside OUT until it has been saved: memory stays small.
"""

import argparse
import math
import os
import re
import shutil
import tempfile
from collections import OrderedDict

import numpy as np
import torch

PATCH_NUMS = [(1, 2, 3, 4), (1, 2, 3, 4, 5, 6, 8, 10, 13, 16), (1, 2, 3, 4, 6, 9, 13, 18, 24, 32)]
PIECE = 1 << 22


def uniform(std):
    return math.sqrt(12) * std


def fan_in(shape):
    return math.prod(shape[1:])


# The first pattern that fits: kind, a, b. The table of test/official-like.ts.
SPREADS = [
    (r"scale_mul_1H11$", lambda s: ("u", 0.8, math.log(4))),
    (r"ada_gss$", lambda s: ("u", uniform(0.3), 0)),
    (r"^(pos_start|pos_1LC|lvl_embed\.weight)$", lambda s: ("u", uniform(0.4), 0)),
    (r"^class_emb\.weight$", lambda s: ("u", uniform(0.8), 0)),
    (r"ada_lin\.1\.weight$", lambda s: ("u", uniform(0.5 / math.sqrt(fan_in(s))), 0)),
    (r"^head\.weight$", lambda s: ("u", uniform(2 / math.sqrt(fan_in(s))), 0)),
    (r"^(blocks|head|head_nm|word_embed|shared_ada_lin)\b.*bias$", lambda s: ("u", 0.2, 0)),
    (r"^quantize\.embedding\.weight$", lambda s: ("u", uniform(0.5), 0)),
    (r"norm\w*\.weight$", lambda s: ("u", 0.4, 1)),
    (r"bias$", lambda s: ("u", 0.1, 0)),
    (r"^(encoder|decoder)\.(down|up|mid)\..*weight$", lambda s: ("t", math.sqrt(10 / fan_in(s)), 0)),
    (r"weight$", lambda s: ("u", uniform(1 / math.sqrt(fan_in(s))), 0)),
]


def hashed(start, count, t, seed):
    """u in [0, 1) for elements start to start + count of tensor t."""
    offset = (t * 0x9E3779B1 + seed * 0x85EBCA6B + start) & 0xFFFFFFFF
    x = np.arange(count, dtype=np.uint32) + np.uint32(offset)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x21F0AAAD)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x735A2D97)
    x ^= x >> np.uint32(15)
    return (x >> np.uint32(8)).astype(np.float64) / 2**24


def fill(tensor, name, t, seed):
    kind, a, b = next(spread for pattern, spread in SPREADS if re.search(pattern, name))(tuple(tensor.shape))
    flat = tensor.view(-1).numpy()
    for start in range(0, flat.size, PIECE):
        u = hashed(start, min(PIECE, flat.size - start), t, seed)
        value = (u - 0.5) * a + b if kind == "u" else np.where(u < 0.05, -1.0, np.where(u < 0.95, 0.0, 1.0)) * a
        flat[start : start + u.size] = value.astype(np.float32)


def scale_of_token(tokens):
    sides = next(sides for sides in PATCH_NUMS if sum(n * n for n in sides) == tokens)
    return torch.cat([torch.full((n * n,), k, dtype=torch.int64) for k, n in enumerate(sides)])


def buffer(tensor, name):
    """Buffers as upstream has them; all others are zeros."""
    if name == "lvl_1L":
        tensor[0] = scale_of_token(tensor.shape[1])
    elif name == "attn_bias_for_masking":
        level = scale_of_token(tensor.shape[2])
        tensor[0, 0] = torch.where(level[:, None] >= level[None, :], 0.0, -math.inf)
    else:
        tensor.zero_()


def mapped(shape, dtype, folder, index):
    """A tensor whose memory is a file, which the system may write out and drop."""
    count = math.prod(shape)
    path = os.path.join(folder, str(index))
    with open(path, "wb") as file:
        file.truncate(count * torch.empty(0, dtype=dtype).element_size())
    return torch.from_file(path, shared=True, size=count, dtype=dtype).view(shape)


def state_dict(layout, seed, folder):
    state = OrderedDict()
    t = 0
    for index, line in enumerate(open(layout).read().strip().split("\n")):
        name, sizes, dtype, kind = line.split("\t")
        tensor = mapped([int(n) for n in sizes.split("x")], getattr(torch, dtype), folder, index)
        if kind == "param":
            fill(tensor, name, t, seed)
            t += 1
        else:
            buffer(tensor, name)
        state[name] = tensor
    return state


def trainer_checkpoint(state):
    """The nesting of upstream's ar-ckpt-*.pth around a transformer, its optimizer just started."""
    part = "vae_local" if "quantize.embedding.weight" in state else "var_wo_ddp"
    trainer = {"config": {"patch_nums": (1, 2, 3), "label_smooth": 0.0, "prog_it": 0}, part: state}
    return {"epoch": 0, "iter": 0, "trainer": trainer, "args": OrderedDict(depth=16, fp16=1, tlr=1e-4)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layout")
    parser.add_argument("out")
    parser.add_argument("--seed", type=int, default=1, help="names the weights, default 1")
    parser.add_argument("--trainer", action="store_true", help="inside a trainer's resume checkpoint")
    parser.add_argument("--legacy", action="store_true", help="the container of PyTorch before 1.6")
    args = parser.parse_args()
    folder = tempfile.mkdtemp(dir=os.path.dirname(os.path.abspath(args.out)))
    try:
        state = state_dict(args.layout, args.seed, folder)
        value = trainer_checkpoint(state) if args.trainer else state
        torch.save(value, args.out, _use_new_zipfile_serialization=not args.legacy)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
