"""PyTorch's side of the VAR benchmark: draws pictures with var_model.py for every line on stdin. Measures nothing else.

usage: var_torch.py JOB.json VARIANT
JOB.json names the two safetensors files (`var`, `vqvae`), `uniforms` (a file with one B L tensor), `patchNums`,
`threads`, and for models that do not tell them `heads`. VARIANT is how the decoder runs: "contiguous",
"channels_last", or "compiled" (one frozen graph with packed weights).
Writes one JSON line when ready, and one for every line read:
  {"do": "draw", "classes", "guidance", "topK", "topP", "ada", "out", "trace"}  ->  {ms, stages, ids}
  {"do": "decode"}  ->  {ms}
  {"do": "memory"}  ->  {peak}
`out` is a safetensors file for the images and, with `trace`, for what lies between.
"""
import json
import os
import sys
import time

import torch

from shared import blas_file, openblas, peak, read_safetensors, write_safetensors
from var_model import Tokenizer, Transformer, draw, needed


def main():
    with open(sys.argv[1]) as file:
        job = json.load(file)
    torch.set_num_threads(job["threads"])
    (uniforms,) = read_safetensors(job["uniforms"]).values()
    started = time.perf_counter()
    with torch.inference_mode():
        transformer = Transformer(read_safetensors(job["var"], needed), job["patchNums"], job.get("heads"))
        weights = read_safetensors(job["vqvae"], needed)
        tokenizer = Tokenizer(weights, job["patchNums"], layout=sys.argv[2], batch=len(uniforms))
    loaded = (time.perf_counter() - started) * 1e3

    def run(question):
        trace = {} if question.get("trace") else None
        images, ids, watch = draw(
            transformer,
            tokenizer,
            question["classes"],
            guidance=question["guidance"],
            uniforms=uniforms,
            top_k=question["topK"],
            top_p=question["topP"],
            ada=question["ada"],
            trace=trace,
        )
        if question.get("out"):
            write_safetensors(question["out"], {"images": images, **(trace or {})})
        return {"ms": watch.total(), "stages": watch.stages, "ids": ids.tolist()}

    @torch.inference_mode()
    def decode(_):
        started = time.perf_counter()
        tokenizer.images(tokenizer.start(len(uniforms)))
        return {"ms": (time.perf_counter() - started) * 1e3}

    answers = {"draw": run, "decode": decode, "memory": lambda _: {"peak": peak()}}
    say = lambda facts: print(json.dumps(facts), flush=True)
    blas = {"openblas": openblas(), "blasFile": blas_file()}
    tuned = {name: value for name, value in os.environ.items() if name.startswith("OPENBLAS_")}
    say({"torch": torch.__version__, **blas, "tuned": tuned, "threads": torch.get_num_threads(), "loadMs": loaded})
    for line in sys.stdin:
        question = json.loads(line)
        say(answers[question["do"]](question))


main()
