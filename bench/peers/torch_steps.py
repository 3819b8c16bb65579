"""PyTorch's side of the engine benchmark: the models of ../models.ts, one training step for every line on stdin.

usage: torch_steps.py JOB.json VARIANT
JOB.json holds the model, the training constants, and the safetensors file with weights and batch.
VARIANT is FOREACH-LAYOUT, for instance "foreach-contiguous" or "loop-channels_last".
Writes one JSON line when ready, and one for every line read: "step" {ms, loss}, "memory" {peak}.
"""
import json
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

import var_training
import vqvae_training
from shared import openblas, peak, read_safetensors

torch.set_num_threads(2)


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, 1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, 1e-6)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x, mask):
        B, L, C = x.shape
        q, k, v = (t.view(B, L, self.heads, -1).transpose(1, 2) for t in self.qkv(self.norm1(x)).split(C, 2))
        # The factor on q, not on the scores: half the work at these sizes.
        w = (q * (C // self.heads) ** -0.5 @ k.transpose(-1, -2) + mask).softmax(-1)
        x = x + self.proj((w @ v).transpose(1, 2).reshape(B, L, C))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, layers, width, heads, length, codes, **_):
        super().__init__()
        self.tokens = nn.Embedding(codes, width)
        self.positions = nn.Parameter(torch.zeros(length, width))
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width, 1e-6)
        self.head = nn.Linear(width, codes, bias=False)
        self.mask = torch.full((length, length), -1e9).triu(1)

    def forward(self, tokens, targets):
        x = self.tokens(tokens) + self.positions
        for block in self.blocks:
            x = block(x, self.mask)
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1), targets.flatten())


class Res(nn.Module):
    def __init__(self, channels, groups):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels, 1e-6)
        self.conv1 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.norm2 = nn.GroupNorm(groups, channels, 1e-6)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1)

    def forward(self, x):
        return x + self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))


class Vae(nn.Module):
    def __init__(self, widths, latent, groups, **_):
        super().__init__()
        steps = list(enumerate(zip(widths, widths[1:])))
        self.enc_in = nn.Conv2d(3, widths[0], 3, 1, 1)
        self.enc = nn.ModuleList([Res(c, groups) for c in widths])
        self.down = nn.ModuleDict({str(i): nn.Conv2d(a, b, 3, 2, 1) for i, (a, b) in steps})
        self.enc_out = nn.Conv2d(widths[-1], latent, 3, 1, 1)
        self.dec_in = nn.Conv2d(latent, widths[-1], 3, 1, 1)
        self.dec = nn.ModuleList([Res(c, groups) for c in widths])
        self.up = nn.ModuleDict({str(i + 1): nn.Conv2d(b, a, 3, 1, 1) for i, (a, b) in steps})
        self.dec_norm = nn.GroupNorm(groups, widths[0], 1e-6)
        self.dec_out = nn.Conv2d(widths[0], 3, 3, 1, 1)

    def forward(self, images):
        x = self.enc_in(images)
        for i, block in enumerate(self.enc):
            x = block(x)
            if str(i) in self.down:
                x = self.down[str(i)](x)
        x = self.dec_in(self.enc_out(x))
        for i in reversed(range(len(self.dec))):
            x = self.dec[i](x)
            if str(i) in self.up:
                x = self.up[str(i)](F.interpolate(x, scale_factor=2, mode="nearest"))
        return F.mse_loss(self.dec_out(F.silu(self.dec_norm(x))), images)


def module_step(model, tensors, batch):
    """One of the models above: its loss, to be differentiated by the caller, and its parameters."""
    net = (Gpt if model["kind"] == "gpt" else Vae)(**model)
    net.load_state_dict(tensors)  # strict: the same names and shapes on both sides
    return lambda: net(*batch), dict(net.named_parameters())


def var_step(model, tensors, batch):
    """The transformer's trainer. The accuracies are computed and dropped, as a trainer would log them."""
    made = var_training.scales_and_mask(model["tokenizer"]["patchNums"])
    w, frozen = parted(tensors)
    return lambda: var_training.loss_and_reports(batch, w, frozen, model["var"], model["tokenizer"], made)[0], w


def parted(tensors):
    """What is trained, and what is only looked up."""
    frozen = {name[len("frozen.") :]: t for name, t in tensors.items() if name.startswith("frozen.")}
    return {n: t.requires_grad_() for n, t in tensors.items() if not n.startswith("frozen.")}, frozen


def vqvae_step(model, tensors, batch):
    """The tokenizer's trainer: gradients of both players are there when the loss is told."""
    w, frozen = parted(tensors)
    images, gan_weight, real, fake = batch
    means = {"real": real, "fake": fake}
    return lambda: vqvae_training.joined(images, w, frozen, model["recipe"], means, gan_weight)[0], w


STEPS = {"gpt": module_step, "vae": module_step, "var": var_step, "vqvae": vqvae_step}
# Names that weight decay leaves alone besides biases and the like: the library's own lists.
UNDECAYED = ("pos_", "lvl_embed", "scale_mul", "quantize.embedding")


def optimizers(kind, params, training, foreach):
    """Optimizers with the parameters whose joint norm is clipped, and the limit."""
    betas, clip = (training["betas"], training["clip"]) if kind != "vqvae" else ([0.9, 0.99], 1)
    own = {n: t for n, t in params.items() if not n.startswith("judge.")}
    players = [(own, betas, clip)]
    if len(own) < len(params):
        players.append(({n: t for n, t in params.items() if n not in own}, [0.5, 0.9], 10))
    decays = lambda n, t: t.dim() > 1 and not n.startswith(UNDECAYED) and "scale_mul" not in n
    for named, betas, clip in players:
        groups = [
            {"params": [t for n, t in named.items() if decays(n, t)], "weight_decay": training["weightDecay"]},
            {"params": [t for n, t in named.items() if not decays(n, t)], "weight_decay": 0},
        ]
        options = {"lr": training["lr"], "betas": betas, "eps": training["eps"], "foreach": foreach}
        yield torch.optim.AdamW(groups, **options), list(named.values()), clip


def main():
    with open(sys.argv[1]) as file:
        job = json.load(file)
    fusing, layout = sys.argv[2].split("-")
    model, training = job["model"], job["training"]
    tensors = read_safetensors(job["tensors"])
    batch = [tensors.pop("batch." + name) for name in job["batch"]]
    if layout == "channels_last":
        turned = lambda t: t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t
        tensors, batch = {n: turned(t) for n, t in tensors.items()}, [turned(t) for t in batch]
    loss_of, params = STEPS[model["kind"]](model, tensors, batch)
    players = list(optimizers(model["kind"], params, training, fusing == "foreach"))

    def step():
        for optimizer, _, _ in players:
            optimizer.zero_grad(set_to_none=True)
        loss = loss_of()
        if loss.requires_grad:
            loss.backward()
        for optimizer, own, clip in players:
            nn.utils.clip_grad_norm_(own, clip)
            optimizer.step()
        return loss.item()

    say = lambda **facts: print(json.dumps(facts), flush=True)
    say(torch=torch.__version__, openblas=openblas(), threads=torch.get_num_threads(), peak=peak())
    for line in sys.stdin:
        if line.strip() == "memory":
            say(peak=peak())
            continue
        start = time.perf_counter()
        loss = step()
        say(ms=(time.perf_counter() - start) * 1e3, loss=loss)


main()
