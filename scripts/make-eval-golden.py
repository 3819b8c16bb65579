"""Writes test/fixtures/eval/: features and what NumPy and SciPy make of them, for the tests of src/eval.

python3 scripts/make-eval-golden.py     (numpy 1.24, scipy 1.10)

Independent of our code on purpose: square roots of matrices where we take singular values, one picture left out at a
time by computing everything again, all distances by subtraction.
"""

import json
import os

import numpy as np
import scipy.linalg

HERE = os.path.join(os.path.dirname(__file__), "..", "test", "fixtures", "eval")


def moments(x):
    return x.mean(axis=0), np.cov(x, rowvar=False)


def frechet_scipy(x, y):
    (m1, s1), (m2, s2) = moments(x), moments(y)
    root = scipy.linalg.sqrtm(s1 @ s2)
    return float(((m1 - m2) ** 2).sum() + np.trace(s1) + np.trace(s2) - 2 * np.trace(root).real)


def frechet_nuclear(x, y):
    """The same for fewer pictures than features, where sqrtm loses digits: singular values of centred data."""
    (m1, s1), (m2, s2) = moments(x), moments(y)
    a, b = (x - m1) / np.sqrt(len(x) - 1), (y - m2) / np.sqrt(len(y) - 1)
    shared = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(((m1 - m2) ** 2).sum() + np.trace(s1) + np.trace(s2) - 2 * shared)


def kernel(x, y):
    return (x @ y.T / x.shape[1] + 1) ** 3


def mmd(x, y):
    n, m = len(x), len(y)
    xx, yy, xy = kernel(x, x), kernel(y, y), kernel(x, y)
    return float(
        (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1)) - 2 * xy.mean()
    )


def jackknife_error(x, y):
    spread = 0.0
    for left_out in (
        [mmd(np.delete(x, i, 0), y) for i in range(len(x))],
        [mmd(x, np.delete(y, j, 0)) for j in range(len(y))],
    ):
        v = np.array(left_out)
        spread += (len(v) - 1) / len(v) * ((v - v.mean()) ** 2).sum()
    return float(np.sqrt(spread))


def inception_score(p, splits):
    edges = [[i for i in range(len(p)) if i * splits // len(p) == s] for s in range(splits)]
    scores = []
    for rows in edges:
        part = p[rows]
        kl = part * (np.log(part) - np.log(part.mean(0, keepdims=True)))
        scores.append(np.exp(kl.sum(1).mean()))
    return float(np.mean(scores)), float(np.std(scores))


def squared(x, y):
    return ((x[:, None, :] - y[None, :, :]) ** 2).sum(-1)


def precision_recall(samples, reference, k=3):
    def radii(x):
        return np.sort(squared(x, x), axis=1)[:, k]  # column 0 is the picture itself

    d = squared(samples, reference)
    precision = (d <= radii(reference)[None, :]).any(1).mean()
    recall = (d <= radii(samples)[:, None]).any(0).mean()
    return float(precision), float(recall)


def main():
    rng = np.random.RandomState(7)
    mix = rng.randn(16, 16) / 4
    full = (np.abs(rng.randn(300, 16)) @ mix, np.abs(rng.randn(260, 16)) @ mix * 1.1 + 0.05)
    few_mix = rng.randn(48, 48) / 7
    few = (rng.randn(20, 48) @ few_mix + 3, rng.randn(31, 48) @ few_mix + 3.1)
    logits = rng.randn(103, 7) * 2
    full, few = [tuple(x.astype(np.float32) for x in pair) for pair in (full, few)]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    arrays = {"full_a": full[0], "full_b": full[1], "few_a": few[0], "few_b": few[1], "probabilities": p}
    os.makedirs(HERE, exist_ok=True)
    np.savez(os.path.join(HERE, "features.npz"), **arrays)
    expected = {}
    for name, pair in (("full", full), ("few", few)):
        x, y = (part.astype(np.float64) for part in pair)
        precision, recall = precision_recall(x, y)
        expected[name] = {
            "frechet": frechet_scipy(x, y) if name == "full" else frechet_nuclear(x, y),
            "kid": mmd(x, y),
            "kidError": jackknife_error(x, y),
            "precision": precision,
            "recall": recall,
        }
    mean, std = inception_score(p, 5)
    expected["inceptionScore"] = {"splits": 5, "mean": mean, "std": std}
    with open(os.path.join(HERE, "expected.json"), "w") as file:
        json.dump(expected, file, indent=2)
        file.write("\n")


main()
