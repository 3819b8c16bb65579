"""The tokenizer in training, for PyTorch: encoder, multi-scale quantizer, decoder, and every loss of ../../src/train/vqvae-loss.ts.

Written from the papers (VAR arXiv 2404.02905, VQGAN arXiv 2012.09841, LPIPS, LeCam, MAGVIT-v2) in PyTorch's own
operations; weights by the released files' names. Two ways through the adversarial term: `textbook`, as VQGAN's code
does it, is the oracle of the tests; `joined` judges each picture once for both players and is the peer of the
benchmark. N vectors, C latent channels, V codes, B pictures.
"""
import math

import torch
import torch.nn.functional as F

EPS = 1e-6
CLASSIFIER_GROUPS = JUDGE_GROUPS = 8


def conv(x, w, name, **options):
    return F.conv2d(x, w[name + ".weight"], w[name + ".bias"], **options)


def active(x, w, name, groups):
    return F.silu(F.group_norm(x, groups, w[name + ".weight"], w[name + ".bias"], EPS))


def residual(x, w, name, groups):
    h = conv(active(x, w, name + ".norm1", groups), w, name + ".conv1", padding=1)
    h = conv(active(h, w, name + ".norm2", groups), w, name + ".conv2", padding=1)
    short = name + ".nin_shortcut"
    return h + (conv(x, w, short) if short + ".weight" in w else x)


def attend(x, w, name, groups):
    if name + ".norm.weight" not in w:
        return x
    B, C, height, width = x.shape
    h = F.group_norm(x, groups, w[name + ".norm.weight"], w[name + ".norm.bias"], EPS)
    q, k, v = conv(h, w, name + ".qkv").flatten(2).split(C, 1)  # B C HW
    weights = (q.transpose(1, 2) @ k * C**-0.5).softmax(-1)
    return x + conv((v @ weights.transpose(1, 2)).view(B, C, height, width), w, name + ".proj_out")


def blocks(x, w, name, groups):
    i = 0
    while f"{name}.block.{i}.norm1.weight" in w:
        x = attend(residual(x, w, f"{name}.block.{i}", groups), w, f"{name}.attn.{i}", groups)
        i += 1
    return x


def middle(x, w, name, groups):
    x = attend(residual(x, w, name + ".block_1", groups), w, name + ".attn_1", groups)
    return residual(x, w, name + ".block_2", groups)


def encode(images, w, model):
    groups, levels = model["groups"], len(model["chMult"])
    x = conv(images, w, "encoder.conv_in", padding=1)
    for level in range(levels):
        x = blocks(x, w, f"encoder.down.{level}", groups)
        if level < levels - 1:  # right and bottom by one
            x = conv(F.pad(x, (0, 1, 0, 1)), w, f"encoder.down.{level}.downsample.conv", stride=2)
    x = active(middle(x, w, "encoder.mid", groups), w, "encoder.norm_out", groups)
    return conv(conv(x, w, "encoder.conv_out", padding=1), w, "quant_conv", padding=1)


def decode(f_hat, w, model):
    groups, levels = model["groups"], len(model["chMult"])
    x = conv(conv(f_hat, w, "post_quant_conv", padding=1), w, "decoder.conv_in", padding=1)
    x = middle(x, w, "decoder.mid", groups)
    for level in reversed(range(levels)):
        x = blocks(x, w, f"decoder.up.{level}", groups)
        if level > 0:
            x = conv(F.interpolate(x, scale_factor=2, mode="nearest"), w, f"decoder.up.{level}.upsample.conv", padding=1)
    return conv(active(x, w, "decoder.norm_out", groups), w, "decoder.conv_out", padding=1)


# ---- quantizer


def phi_places(scales, phis):
    """Which phi convolution each scale uses: the nearest of evenly placed ticks."""
    edge = 1 / (3 if phis == 4 else 2) / phis
    ticks = torch.linspace(edge, 1 - edge, phis, dtype=torch.float64)
    return [int((ticks - (k / max(1, scales - 1))).abs().argmin()) for k in range(scales)]


def map_shape(pn):
    """(height, width) of a token map: one number is a square."""
    return (pn, pn) if isinstance(pn, int) else tuple(pn)


def spread(rows, w, model, k):
    """What the code vectors of scale k add to the latent map. rows B T C -> B C h w"""
    own, whole = map_shape(model["patchNums"][k]), map_shape(model["patchNums"][-1])
    h = rows.transpose(1, 2).reshape(rows.shape[0], -1, *own)
    if own != whole:
        h = F.interpolate(h, size=whole, mode="bicubic", align_corners=False)
    share = model["quantResi"]
    if share == 0:
        return h
    place = phi_places(len(model["patchNums"]), model["phis"])[k]
    return h * (1 - share) + conv(h, w, f"quantize.quant_resi.qresi_ls.{place}", padding=1) * share


def quantize(f, w, model):
    """Straight-through latent map, the codebook and commitment loss, and what was quantized at each scale: N C."""
    table = w["quantize.embedding.weight"]
    residual_map, f_hat, loss, rows_of, ids_of = f, 0, 0, [], []
    for k, pn in enumerate(model["patchNums"]):
        shape = map_shape(pn)
        small = F.interpolate(residual_map, size=shape, mode="area") if shape != f.shape[2:] else residual_map
        z = small.flatten(2).transpose(1, 2).reshape(-1, f.shape[1])  # N C
        with torch.no_grad():
            if model["usingZnorm"]:
                ids = (F.normalize(z, dim=-1) @ F.normalize(table, dim=-1).t()).argmax(1)
            else:
                ids = torch.addmm(table.square().sum(1), z, table.t(), alpha=-2).argmin(1)
        h = spread(F.embedding(ids, table).view(f.shape[0], shape[0] * shape[1], -1), w, model, k)
        f_hat = f_hat + h
        residual_map = residual_map - h.detach()
        loss = loss + model["beta"] * F.mse_loss(f_hat.detach(), f) + F.mse_loss(f_hat, f.detach())
        rows_of.append(z)
        ids_of.append(ids.view(f.shape[0], -1))
    return f + (f_hat - f).detach(), loss / len(model["patchNums"]), rows_of, torch.cat(ids_of, 1)


def entropy(rows_of, w, model):
    """MAGVIT-v2 section 3.1, per scale and with distances over their mean; moves the codes alone."""
    table, total = w["quantize.embedding.weight"], 0
    for z in rows_of:
        z, codes = z.detach(), table
        if model["usingZnorm"]:
            z, codes = F.normalize(z, dim=-1), F.normalize(table, dim=-1)
        distances = (z[:, None] - codes[None]).square().sum(-1)  # by subtraction, as an oracle may
        log_p = (-distances / (distances.detach().mean() * 0.02 + 1e-12)).log_softmax(-1)
        p = log_p.exp()
        sure = -(p * log_p).sum(-1).mean()
        average = p.mean(0)
        total = total + sure + (average * (average + 1e-12).log()).sum()
    return total / len(rows_of) / math.log(len(table))


# ---- judges of pictures


def classifier_maps(x, w):
    """The activated maps of a classifier of ours, fine to coarse, and the last one."""
    h, maps, i = conv(x, w, "stem", padding=1), [], 0
    while f"levels.{i}.down.weight" in w:
        name = f"levels.{i}"
        maps.append(active(h, w, name + ".norm1", CLASSIFIER_GROUPS))
        down = conv(maps[-1], w, name + ".down", stride=2, padding=1)
        h = down + conv(active(down, w, name + ".norm2", CLASSIFIER_GROUPS), w, name + ".conv", padding=1)
        i += 1
    return maps + [active(h, w, "norm", CLASSIFIER_GROUPS)]


def unit(x):
    return x / (x.square().sum(1, keepdim=True) + 1e-10).sqrt()


def perceptual(images, rebuilt, w):
    """LPIPS with all channels weighted 1, averaged over layers."""
    with torch.no_grad():
        wanted = [unit(m) for m in classifier_maps(images, w)]
    terms = [(unit(m) - t).square().sum(1).mean() for m, t in zip(classifier_maps(rebuilt, w), wanted)]
    return sum(terms) / len(terms)


def judge(x, w, layers):
    """A judgement per patch: PatchGAN with GroupNorm."""
    for i in range(layers):
        x = conv(x, w, f"judge.{i}.conv", stride=2, padding=1)
        if i > 0:
            x = F.group_norm(x, JUDGE_GROUPS, w[f"judge.{i}.norm.weight"], w[f"judge.{i}.norm.bias"], EPS)
        x = F.leaky_relu(x, 0.2)
    return conv(x, w, "judge.out", padding=1)


def hinge(real, fake, recipe, means):
    loss = 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())
    pull = F.relu(real - means["fake"]).square().mean() + F.relu(means["real"] - fake).square().mean()
    return loss, loss + recipe["lecam"] * pull


# ---- losses


def pixel_terms(images, rebuilt, frozen):
    return {
        "l1": F.l1_loss(rebuilt, images),
        "l2": F.mse_loss(rebuilt, images),
        "perceptual": perceptual(images, rebuilt, frozen),
    }


def weighted(terms, recipe):
    weights = {"perceptual": "perceptualWeight"}
    return sum(recipe[weights.get(name, name)] * term for name, term in terms.items())


def textbook(images, w, frozen, recipe, means, gan_weight):
    """VQGAN eq. 7 as its code has it: two gradients at the last layer, the discriminator afterwards."""
    model, layers = recipe["model"], recipe["ganLayers"]
    f_hat, vq, rows_of, ids = quantize(encode(images, w, model), w, model)
    rebuilt = decode(f_hat, w, model)
    terms = pixel_terms(images, rebuilt, frozen)
    reconstruction = weighted(terms, recipe)
    codes = {"vq": vq, **({"entropy": entropy(rows_of, w, model)} if recipe["entropy"] > 0 else {})}
    rest = weighted(codes, recipe)
    gan = -judge(rebuilt, w, layers).mean()
    last = w["decoder.conv_out.weight"]
    lengths = [torch.autograd.grad(part, last, retain_graph=True)[0].norm() for part in (reconstruction, gan)]
    balance = (lengths[0] / (lengths[1] + 1e-4)).clamp(0, 1e4).detach()
    objective = reconstruction + balance * gan_weight * gan + rest
    plain, opponent = hinge(judge(images, w, layers), judge(rebuilt.detach(), w, layers), recipe, means)
    terms = {**terms, **codes, "gan": gan, "judge": plain, "ganBalance": balance}
    return {"loss": reconstruction + rest, "objective": objective, "opponent": opponent, "ids": ids, **terms}


def joined(images, w, frozen, recipe, means, gan_weight):
    """The same gradients with each picture judged once: accumulates both players' and returns the loss that is told."""
    model, layers = recipe["model"], recipe["ganLayers"]
    f_hat, vq, _, ids = quantize(encode(images, w, model), w, model)
    rebuilt = decode(f_hat, w, model)
    seen = rebuilt.detach().requires_grad_()
    reconstruction = weighted(pixel_terms(images, seen, frozen), recipe)
    rest = recipe["vq"] * vq
    [wanted] = torch.autograd.grad(reconstruction, seen)
    fake, real = judge(seen, w, layers), judge(images, w, layers)
    [fooled] = torch.autograd.grad(-fake.mean(), seen, retain_graph=True)
    last = [w["decoder.conv_out.weight"]]
    lengths = [torch.autograd.grad(rebuilt, last, direction, retain_graph=True)[0].norm() for direction in (wanted, fooled)]
    balance = (lengths[0] / (lengths[1] + 1e-4)).clamp(0, 1e4)
    torch.autograd.backward([rebuilt, rest], [wanted + balance * gan_weight * fooled, None])
    judges = [t for name, t in w.items() if name.startswith("judge.")]
    hinge(real, fake, recipe, means)[1].backward(inputs=judges)
    return (reconstruction + rest).detach(), ids
