"""Reads cases as JSON on stdin, writes loss and gradients by PyTorch as JSON. A test's oracle; nothing else uses it."""
import json
import sys

import torch
import torch.nn.functional as F

torch.set_num_threads(1)


def conv(v, c):
    top, left, bottom, right = c["pad"]
    return F.conv2d(F.pad(v["x"], (left, right, top, bottom)), v["w"], v["b"], stride=c["stride"])


def layer_norm(v, c):
    return F.layer_norm(v["x"], v["x"].shape[-1:], v["w"], v["b"], c["eps"])


def group_norm(v, c):
    return F.group_norm(v["x"], c["groups"], v["w"], v["b"], c["eps"])


def cross_entropy(v, c):
    return F.cross_entropy(v["x"], torch.tensor(c["targets"]), reduction="none")


OPS = {"conv": conv, "layerNorm": layer_norm, "groupNorm": group_norm, "crossEntropy": cross_entropy}

results = []
for case in json.load(sys.stdin):
    values = {k: torch.tensor(t["data"]).reshape(t["shape"]).requires_grad_() for k, t in case["feeds"].items()}
    loss = (OPS[case["op"]](values, case) ** 2).sum()
    loss.backward()
    results.append({"loss": loss.item(), **{k: v.grad.flatten().tolist() for k, v in values.items()}})
json.dump(results, sys.stdout)
