"""VAR in PyTorch for drawing pictures, written from the paper (arXiv 2404.02905) and the released files' names; no training.

The peer that ours is measured against: as fast as a careful user would make it with this library. Keys and values go
into memory taken once, modulated norms and gated sums are single operations, and what follows from the class alone
can be computed once instead of at every scale. B pictures, R rows (2B: with the class, then without), T tokens of a
scale, C width, H heads, V codes, N side of the latent map.
"""
import math
import time
import warnings

import numpy as np
import torch
import torch.nn.functional as F

EPS = 1e-6
GROUPS = 32


def needed(name):
    """Of the released files, what drawing reads: neither the encoder nor the buffers of training."""
    unused = ("encoder.", "quant_conv.", "quantize.ema_", "lvl_1L", "attn_bias_for_masking")
    return not name.startswith(unused) and not name.endswith("zero_k_bias")


# ---- tokenizer


def conv(x, w, name):
    weight = w[name + ".weight"]
    return F.conv2d(x, weight, w[name + ".bias"], padding=int(weight.shape[-1]) // 2)


def norm(x, w, name):
    return F.group_norm(x, GROUPS, w[name + ".weight"], w[name + ".bias"], EPS)


def active(x, w, name):
    return F.silu(norm(x, w, name), inplace=True)


def residual(x, w, name):
    h = conv(active(x, w, name + ".norm1"), w, name + ".conv1")
    h = conv(active(h, w, name + ".norm2"), w, name + ".conv2")
    short = name + ".nin_shortcut"
    return h.add_(conv(x, w, short) if short + ".weight" in w else x)


def attend(x, w, name):
    """One head over all places, residual. B C H W."""
    B, C, height, width = map(int, x.shape)
    q, k, v = conv(norm(x, w, name + ".norm"), w, name + ".qkv").flatten(2).split(C, 1)  # B C HW
    scores = torch.baddbmm(x.new_empty(1), q.transpose(1, 2), k, beta=0, alpha=C**-0.5)
    mixed = torch.bmm(v, scores.softmax(-1).transpose(1, 2)).view(B, C, height, width)
    return conv(mixed, w, name + ".proj_out").add_(x)


def decode(f_hat, w):
    """Latent map to pictures, about [-1, 1]. B latent N N -> B 3 S S."""
    x = conv(conv(f_hat, w, "post_quant_conv"), w, "decoder.conv_in")
    x = residual(x, w, "decoder.mid.block_1")
    if "decoder.mid.attn_1.norm.weight" in w:
        x = attend(x, w, "decoder.mid.attn_1")
    x = residual(x, w, "decoder.mid.block_2")
    levels = count(w, "decoder.up.{}.block.0.norm1.weight")
    for level in reversed(range(levels)):
        name = f"decoder.up.{level}"
        for i in range(count(w, name + ".block.{}.norm1.weight")):
            x = residual(x, w, f"{name}.block.{i}")
            if f"{name}.attn.{i}.norm.weight" in w:
                x = attend(x, w, f"{name}.attn.{i}")
        if level > 0:
            x = conv(F.interpolate(x, scale_factor=2.0, mode="nearest"), w, name + ".upsample.conv")
    return conv(active(x, w, "decoder.norm_out"), w, "decoder.conv_out")


def count(w, pattern):
    n = 0
    while pattern.format(n) in w:
        n += 1
    return n


class Decoder(torch.nn.Module):
    """`decode` for torch.jit."""

    def __init__(self, weights):
        super().__init__()
        self.decoder_weights = weights

    def forward(self, f_hat):
        return decode(f_hat, self.decoder_weights)


def compiled_decoder(weights, example):
    """The decoder as one frozen graph, its weights packed for the convolution library. Fits one batch size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sizes become constants, as they should
        traced = torch.jit.trace(Decoder(weights).eval(), example, check_trace=False)
    return torch.jit.optimize_for_inference(torch.jit.freeze(traced.eval()))


class Tokenizer:
    """Codes to the latent map, scale by scale, and the latent map to pictures."""

    def __init__(self, weights, patch_nums, *, layout="contiguous", batch=1):
        self.patch_nums, self.side = patch_nums, patch_nums[-1]
        self.codes = weights["quantize.embedding.weight"]  # V latent
        self.latent = self.codes.shape[1]
        phis = count(weights, "quantize.quant_resi.qresi_ls.{}.weight")
        edge = 1 / (3 if phis == 4 else 2) / phis
        ticks = np.linspace(edge, 1 - edge, phis)
        places = [k / max(1, len(patch_nums) - 1) for k in range(len(patch_nums))]
        phi = "quantize.quant_resi.qresi_ls.{}.{}".format
        nearest = [np.argmin(np.abs(ticks - place)) for place in places]
        self.phis = [(weights[phi(i, "weight")], weights[phi(i, "bias")]) for i in nearest]
        self.layout = layout
        rest = {n: t for n, t in weights.items() if n.startswith(("decoder.", "post_quant_conv."))}
        if layout == "channels_last":
            for name in [n for n, t in rest.items() if t.dim() == 4]:
                rest[name] = weights[name] = weights[name].contiguous(memory_format=torch.channels_last)
        self.decode = lambda f_hat: decode(f_hat, rest)
        if layout == "compiled":
            self.decode = compiled_decoder(rest, self.start(batch))

    def start(self, batch):
        return torch.zeros(batch, self.latent, self.side, self.side)

    def accumulate(self, f_hat, rows, k):
        """Adds what scale k says, in place. rows B T latent."""
        pn = self.patch_nums[k]
        h = rows.transpose(1, 2).reshape(rows.shape[0], self.latent, pn, pn)
        if pn != self.side:
            h = F.interpolate(h, size=(self.side, self.side), mode="bicubic")
        weight, bias = self.phis[k]
        f_hat.add_(h, alpha=0.5).add_(F.conv2d(h, weight, bias, padding=1), alpha=0.5)

    def shrink(self, f_hat, k):
        """The latent map at the size of scale k. B latent pn pn"""
        pn = self.patch_nums[k]
        return f_hat if pn == self.side else F.adaptive_avg_pool2d(f_hat, pn)

    def images(self, f_hat):
        """Pictures in [0, 1]. B latent N N -> B 3 S S"""
        if self.layout == "channels_last":
            f_hat = f_hat.contiguous(memory_format=torch.channels_last)
        # Not part of `decode`: this version's optimize_for_inference gets a clamp at the end of a graph wrong.
        return self.decode(f_hat).contiguous().clamp_(-1, 1).add_(1).mul_(0.5)


# ---- transformer


class Transformer:
    """One scale after the other; remembers keys and values of a batch between `begin` and the last scale."""

    def __init__(self, weights, patch_nums, heads=None):
        w = self.w = weights
        self.width = w["word_embed.weight"].shape[0]
        self.depth = count(w, "blocks.{}.attn.mat_qkv.weight")
        self.normalised = "blocks.0.attn.scale_mul_1H11" in w
        self.heads = w["blocks.0.attn.scale_mul_1H11"].shape[1] if self.normalised else heads or self.width // 64
        self.starts = np.cumsum([0] + [pn * pn for pn in patch_nums]).tolist()
        scale_of = torch.from_numpy(np.repeat(np.arange(len(patch_nums)), np.diff(self.starts)))
        self.places = w["pos_1LC"] + w["lvl_embed.weight"][scale_of]  # 1 L C
        head_size = self.width // self.heads
        for i in range(self.depth):
            at = f"blocks.{i}.attn."
            w[at + "bias"] = torch.cat([w[at + "q_bias"], torch.zeros(self.width), w[at + "v_bias"]])
            if self.normalised:
                # 1 1 H 1, as heads lie where the factor is applied; never more than 100
                w[at + "factor"] = w[at + "scale_mul_1H11"].clamp(max=math.log(100)).exp().transpose(1, 2)
            else:
                w[at + "factor"] = torch.tensor(0.25 / math.sqrt(head_size))

    def linear(self, x, name):
        return F.linear(x, self.w[name + ".weight"], self.w[name + ".bias"])

    def begin(self, labels, *, ada):
        """From the classes of R rows: first token R 1 C. `ada`: modulation "once" or anew at "each" scale."""
        cond = self.w["class_emb.weight"][labels]  # R C
        self.signal = F.silu(cond)
        R, L, size = len(labels), self.starts[-1], self.width // self.heads
        # Taken anew for each batch, as a program that serves many sizes would; untouched until written.
        self.keys, self.values = (
            [torch.empty(R * self.heads, L, size) for _ in range(self.depth)] for _ in range(2)
        )
        shared = "shared_ada_lin.1.weight" in self.w
        self.shared = self.linear(self.signal, "shared_ada_lin.1").view(R, 6, -1) if shared else None
        if ada == "once":
            blocks = [self.modulation(i) for i in range(self.depth)]
            head = self.head_modulation()
            self.modulation_of, self.head_modulation_of = blocks.__getitem__, lambda: head
        else:
            self.modulation_of, self.head_modulation_of = self.modulation, self.head_modulation
        return cond.unsqueeze(1) + self.w["pos_start"] + self.places[:, :1]

    def modulation(self, i):
        """gate 1, gate 2, 1 + scale 1, 1 + scale 2, shift 1, shift 2 of block i: each R 1 C."""
        if self.shared is None:
            six = self.linear(self.signal, f"blocks.{i}.ada_lin.1").view(-1, 6, self.width)
        else:
            six = self.shared + self.w[f"blocks.{i}.ada_gss"].squeeze(0)
        six[:, 2:4].add_(1)
        return six.split(1, 1)

    def head_modulation(self):
        two = self.linear(self.signal, "head_nm.ada_lin.1").view(-1, 2, self.width)
        two[:, :1].add_(1)
        return two.split(1, 1)

    def normed(self, x, scale, shift):
        return torch.addcmul(shift, F.layer_norm(x, (self.width,), eps=EPS), scale)

    def attention(self, x, i, start):
        R, T, C = x.shape
        H, at = self.heads, f"blocks.{i}.attn."
        qkv = F.linear(x, self.w[at + "mat_qkv.weight"], self.w[at + "bias"]).view(R, T, 3, H, C // H)
        qk = F.normalize(qkv[:, :, :2], dim=-1, eps=1e-12) if self.normalised else qkv[:, :, :2]
        q = (qk[:, :, 0] * self.w[at + "factor"]).transpose(1, 2).reshape(R * H, T, -1)
        end = start + T
        for cache, new in ((self.keys[i], qk[:, :, 1]), (self.values[i], qkv[:, :, 2])):
            cache.view(R, H, *cache.shape[1:])[:, :, start:end] = new.transpose(1, 2)
        weights = torch.bmm(q, self.keys[i][:, :end].transpose(1, 2)).softmax(-1)  # RH T M
        mixed = torch.bmm(weights, self.values[i][:, :end])  # RH T d
        return self.linear(mixed.view(R, H, T, -1).transpose(1, 2).reshape(R, T, C), at + "proj")

    def logits(self, x, k):
        """Scale k for all rows. x R T C, changed in place -> R T V."""
        for i in range(self.depth):
            gate1, gate2, scale1, scale2, shift1, shift2 = self.modulation_of(i)
            x.addcmul_(self.attention(self.normed(x, scale1, shift1), i, self.starts[k]), gate1)
            hidden = F.gelu(self.linear(self.normed(x, scale2, shift2), f"blocks.{i}.ffn.fc1"), approximate="tanh")
            x.addcmul_(self.linear(hidden, f"blocks.{i}.ffn.fc2"), gate2)
        return self.linear(self.normed(x, *self.head_modulation_of()), "head")

    def embed(self, maps, k):
        """What scale k reads. maps B latent pn pn -> B T C."""
        rows = maps.flatten(2).transpose(1, 2)
        return self.linear(rows, "word_embed").add_(self.places[:, self.starts[k] : self.starts[k + 1]])


# ---- drawing


def choose(logits, uniforms, *, top_k, top_p):
    """One code a row: top-k, top-p, then the code where the cumulative probability passes the uniform number.

    Differs from the released code: of codes equal to the k-th only k stay, and the chance comes from outside.
    logits B T V, uniforms B T -> B T
    """
    V = logits.shape[-1]
    if top_k == 1:
        return logits.argmax(-1)
    values, codes = logits.topk(top_k or V)  # falling
    shares = values.softmax(-1)
    if top_p > 0:
        rising = shares.flip(-1).cumsum(-1, dtype=torch.float64)
        dropped = (rising <= np.float32(1 - top_p)).flip(-1)
        dropped[..., 0] = False
        shares.masked_fill_(dropped, 0)
    # In the order of codes and in float64, so that both sides read the same uniform number the same way.
    rising = torch.zeros_like(logits).scatter_(-1, codes, shares).cumsum(-1, dtype=torch.float64)
    target = uniforms.unsqueeze(-1).double() * rising[..., -1:]
    return torch.searchsorted(rising, target, right=True).squeeze(-1).clamp_(max=V - 1)


class Stopwatch:
    """Milliseconds by the name of the stage."""

    def __init__(self):
        self.start = self.last = time.perf_counter()
        self.stages = {}

    def lap(self, stage):
        now = time.perf_counter()
        self.stages[stage] = self.stages.get(stage, 0) + (now - self.last) * 1e3
        self.last = now

    def total(self):
        return (self.last - self.start) * 1e3


@torch.inference_mode()
def draw(transformer, tokenizer, classes, *, guidance, uniforms, top_k=0, top_p=0.0, ada="once", trace=None):
    """Pictures of the classes with guidance that rises from 0 at the first scale to `guidance` at the last.

    uniforms B L -> images B 3 S S in [0, 1], ids B L, and the stopwatch. `trace` collects what lies between.
    """
    keep = (lambda name, t: trace.__setitem__(name, t.clone())) if trace is not None else lambda name, t: None
    watch = Stopwatch()
    B, K = len(classes), len(tokenizer.patch_nums)
    none = transformer.w["class_emb.weight"].shape[0] - 1
    x = transformer.begin(torch.tensor(list(classes) + [none] * B), ada=ada)
    f_hat, ids = tokenizer.start(B), []
    watch.lap("class")
    for k in range(K):
        logits = transformer.logits(x, k)  # R T V
        watch.lap(f"scale {k + 1}")
        keep(f"logits_raw.{k}", logits)
        t = guidance * k / max(1, K - 1)
        guided = logits[:B].mul_(1 + t).sub_(logits[B:], alpha=t) if t > 0 else logits[:B]
        keep(f"logits_cfg.{k}", guided)
        span = slice(transformer.starts[k], transformer.starts[k + 1])
        ids.append(choose(guided, uniforms[:, span], top_k=top_k, top_p=top_p))
        rows = F.embedding(ids[-1], tokenizer.codes)
        watch.lap("choice")
        tokenizer.accumulate(f_hat, rows, k)
        keep(f"f_hat.{k}", f_hat)
        if k + 1 < K:
            maps = tokenizer.shrink(f_hat, k + 1)
            keep(f"next_map.{k}", maps)
            x = transformer.embed(maps, k + 1).repeat(2, 1, 1)
        watch.lap("next")
    images = tokenizer.images(f_hat)
    watch.lap("decoder")
    return images, torch.cat(ids, 1), watch
