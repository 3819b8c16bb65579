/** `underpaint models` in this process: official models of a few kilobytes from a server that fails as told. */

import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { type FaultyServer, faultyServer } from "../../test/faulty-server.ts";
import type { TensorMap } from "../formats/dtype.ts";
import { decodePng } from "../formats/png.ts";
import { writeSafetensors } from "../formats/safetensors.ts";
import { varConfig, vqvaeConfig } from "../image/config.ts";
import { loadVarFrom } from "../image/node.ts";
import { modelMetadata } from "../image/note.ts";
import type { OfficialModel } from "../image/official.ts";
import { varSpecs } from "../image/var-layout.ts";
import { vqvaeSpecs } from "../image/vqvae-layout.ts";
import { initWeights } from "../nn/spec.ts";
import { rng } from "../tensor/rng.ts";
import { run } from "./program.ts";

const scales = { patchNums: [1, 2, 4], codes: 16, latent: 4 };
const tokenizer = vqvaeConfig({
  ...{ channels: 32, chMult: [1, 1], resBlocks: 1, attention: false, midAttention: false },
  ...scales,
});
const transformer = varConfig(2, { ...scales, width: 32, heads: 2, classes: 3 });
const FILES = {
  var: writeSafetensors(initWeights(varSpecs(transformer), rng("transformer")), {
    metadata: modelMetadata("var", transformer),
  }),
  other: writeSafetensors(initWeights(varSpecs(transformer), rng("another")), {
    metadata: modelMetadata("var", transformer),
  }),
  vqvae: writeSafetensors(initWeights(vqvaeSpecs(tokenizer), rng("tokenizer")), {
    metadata: modelMetadata("vqvae", tokenizer),
  }),
};

// The table with the sizes of these files; everything else is as it is.
vi.mock(import("../image/official.ts"), async (original) => {
  const actual = await original();
  return {
    ...actual,
    OFFICIAL_MODELS: actual.OFFICIAL_MODELS.map((model): OfficialModel => {
      const small = <T extends { bytes: number }>(file: T): T => ({ ...file, bytes: 40_000 });
      return { ...model, var: small(model.var), vqvae: small(model.vqvae) };
    }),
    plausibleSize: () => [1000, 10_000_000] as const,
  };
});

const VAE = "vae_ch160v4096z32.pth";
let server: FaultyServer;
let home = "";
let cache = "";
let official = "";
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "models-"));
  server = await faultyServer();
});
let caches = 0;
beforeEach(() => {
  for (const name of ["HF_ENDPOINT", "HF_HUB_OFFLINE", "UNDERPAINT_MODEL_MIRROR"])
    vi.stubEnv(name, "");
  cache = join(home, `cache${caches++}`);
  official = join(cache, "models/official");
  vi.stubEnv("UNDERPAINT_CACHE", cache);
  vi.stubEnv("UNDERPAINT_MODEL_MIRROR", `${server.url}/`);
  server.faults.length = 0;
  server.requests.length = 0;
  server.extra = () => ({});
  server.files.clear();
  server.files.set("/var_d16.pth", FILES.var);
  server.files.set("/var_d20.pth", FILES.var);
  server.files.set(`/${VAE}`, FILES.vqvae);
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await server.close();
  await rm(home, { recursive: true });
});

async function underpaint(...args: string[]) {
  const [out, err]: string[][] = [[], []];
  const code = await run(args, {
    say: (line) => void err!.push(line),
    print: (line) => void out!.push(line),
    draw: () => {},
    live: false,
    columns: 80,
    dim: (text) => text,
  });
  return { code, out: out!.join("\n"), err: err!.join("\n") };
}

/** Exit code, and one line that matches. */
async function refused(args: string[], code: number, sentence: RegExp): Promise<void> {
  const ended = await underpaint(...args);
  const lines = ended.err.split("\n").filter((line) => line.startsWith("underpaint: "));
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(sentence);
  expect(ended.code).toBe(code);
}

describe("an official model", () => {
  test("is pulled, listed, told, drawn from, verified and removed by its name", async () => {
    await refused(["sample", "--model", "var-d16"], 2, /not on this machine yet; .*pull var-d16/);
    const pulled = await underpaint("models", "pull", "var-d16", "--json");
    expect(pulled.code).toBe(0);
    const rows = pulled.out.split("\n").map((line) => JSON.parse(line));
    expect(rows.map((row) => [row.file, row.by, row.known])).toEqual([
      [VAE, "download", false],
      ["var_d16.pth", "download", false],
    ]);
    expect((await readdir(official)).sort()).toEqual([
      VAE,
      `${VAE}.json`,
      "var_d16.pth",
      "var_d16.pth.json",
    ]);
    const listed = await underpaint("models", "list", "--json");
    expect(listed.out.split("\n").map((line) => JSON.parse(line))).toContainEqual(
      expect.objectContaining({
        name: "var-d16",
        source: "pulled",
        size: { width: 256, height: 256 },
        classCount: 1000,
      }),
    );
    expect(listed.err).toMatch(/to pull: var-d20/);
    const told = await underpaint("info", "var-d16");
    expect(told.out).toMatch(/VAR transformer[\s\S]*multi-scale VQVAE/);
    const out = join(home, "picture.png");
    expect((await underpaint("sample", "1", "--model", "var-d16", "--out", out)).code).toBe(0);
    expect(existsSync(out)).toBe(true);
    const model = await loadVarFrom("var-d16");
    expect(model.info).toMatchObject({ depth: 2, size: { width: 8, height: 8 } });
    await model.release();
    const verified = await underpaint("models", "verify", "var-d16");
    expect(verified.out.match(/as recorded/g)).toHaveLength(2);
    expect(verified.code).toBe(0);
    const gone = await underpaint("models", "rm", "var-d16");
    expect(gone.err).toMatch(/removed .*var_d16\.pth[\s\S]*stays recorded/);
    expect((await readdir(official)).sort()).toEqual([`${VAE}.json`, "var_d16.pth.json"]);
  });

  test("that is here already is not asked for", async () => {
    await underpaint("models", "pull", "var-d16");
    server.requests.length = 0;
    const again = await underpaint("models", "pull", "var-d16");
    expect(again.err).toMatch(/was here already/);
    expect(server.requests).toEqual([]);
    expect((await underpaint("models", "pull", "var-d16", "--offline")).code).toBe(0);
  });

  test("shares its tokenizer: the second pull fetches one file, a removal leaves what others use", async () => {
    await underpaint("models", "pull", "var-d16");
    server.requests.length = 0;
    await underpaint("models", "pull", "var-d20");
    expect(server.requests.map(({ path }) => path)).toEqual(["/var_d20.pth"]);
    await underpaint("models", "rm", "var-d20");
    expect(existsSync(join(official, VAE))).toBe(true);
    await underpaint("models", "rm", "var-d16");
    expect(existsSync(join(official, VAE))).toBe(false);
  });

  test("that is another one than at first is refused until the record is forgotten", async () => {
    await underpaint("models", "pull", "var-d16");
    await underpaint("models", "rm", "var-d16");
    server.files.set("/var_d16.pth", FILES.other);
    await refused(["models", "pull", "var-d16"], 2, /bytes are wrong: their sha256 is/);
    expect(existsSync(join(official, "var_d16.pth"))).toBe(false);
    await underpaint("models", "rm", "var-d16", "--forget");
    expect((await underpaint("models", "pull", "var-d16")).code).toBe(0);
  });

  test("with a flipped byte on disk is found by verify, with a cut end already by its size", async () => {
    await underpaint("models", "pull", "var-d16");
    const path = join(official, "var_d16.pth");
    const bytes = await readFile(path);
    bytes[bytes.length - 1]! ^= 1;
    await writeFile(path, bytes);
    await refused(["models", "verify"], 2, /var_d16\.pth is not the file that was recorded/);
    await writeFile(path, bytes.subarray(1));
    await refused(["sample", "--model", "var-d16"], 2, /has \d+ bytes, recorded are \d+; run: /);
    const mended = await underpaint("models", "pull", "var-d16");
    expect(mended.err).toMatch(/var_d16\.pth: .*as recorded/);
    expect((await underpaint("models", "verify", "var-d16")).code).toBe(0);
    await rm(path);
    await refused(["models", "verify", "var-d16"], 2, /not on this machine yet/);
  });

  test("of which a file lies there without a record is recorded without asking", async () => {
    await underpaint("models", "pull", "var-d16");
    await rm(join(official, "var_d16.pth.json"));
    server.requests.length = 0;
    const again = await underpaint("models", "pull", "var-d16");
    expect(again.err).toMatch(/var_d16\.pth: was here already, .*recorded now/);
    expect(server.requests).toEqual([]);
    expect((await underpaint("models", "verify")).code).toBe(0);
  });
});

describe("a pull that cannot be done", () => {
  test("says so in one sentence: exit code 1 for the network, 2 for what was asked or came", async () => {
    await refused(["models", "pull", "var-d17"], 2, /no official model "var-d17", did you mean/);
    await refused(["models", "pull", "var-d16", "--offline"], 2, /is not here and may not be/);
    vi.stubEnv("HF_HUB_OFFLINE", "1");
    await refused(["models", "pull", "var-d16"], 2, /is not here and may not be fetched/);
    vi.stubEnv("HF_HUB_OFFLINE", "0");
    server.files.delete(`/${VAE}`);
    await refused(["models", "pull", "var-d16"], 1, /HTTP 404, it has no such file/);
    server.files.set(`/${VAE}`, Buffer.from("<html>please log in</html>"));
    await refused(["models", "pull", "var-d16"], 2, /26 bytes are announced.*login page/);
    vi.stubEnv("UNDERPAINT_MODEL_MIRROR", "nonsense");
    await refused(["models", "pull", "var-d16"], 2, /is no address that files come from/);
    vi.stubEnv("UNDERPAINT_MODEL_MIRROR", "https://nobody.invalid/");
    vi.stubEnv("HTTPS_PROXY", "http://proxy.invalid:3128");
    vi.stubEnv("NODE_USE_ENV_PROXY", "");
    await refused(["models", "pull", "var-d16"], 1, /nobody\.invalid.*HTTPS_PROXY is set, but/);
    expect(await readdir(official)).toEqual([]);
  });

  test("asks the mirrors in turn, and the hub by its own paths", async () => {
    vi.stubEnv("UNDERPAINT_MODEL_MIRROR", `${server.url}/none, ${server.url}`);
    const pulled = await underpaint("models", "pull", "var-d16");
    expect(pulled.code).toBe(0);
    expect(pulled.err).toMatch(/HTTP 404.*asking the next mirror/);
    await underpaint("models", "rm", "var-d16", "--forget");
    vi.stubEnv("UNDERPAINT_MODEL_MIRROR", "");
    vi.stubEnv("HF_ENDPOINT", server.url);
    server.requests.length = 0;
    const planned = await underpaint("models", "pull", "var-d16", "--dry-run");
    expect(planned.out.split("\n")[0]).toBe(
      `${server.url}/FoundationVision/var/resolve/main/${VAE}  about 40.0 kB`,
    );
    expect(server.requests).toEqual([]);
    await refused(["models", "pull", "var-d16"], 1, /HTTP 404/);
    expect(server.requests[0]!.path).toBe(`/FoundationVision/var/resolve/main/${VAE}`);
  });

  test("goes on after a break and says what it waits for", async () => {
    server.faults.push({ kind: "drop", cut: 20_000 });
    const pulled = await underpaint("models", "pull", "var-d16");
    expect(pulled.err).toMatch(/it broke the connection; trying again in 1\.0 s/);
    expect(pulled.code).toBe(0);
  });
});

describe("a model of the user's own", () => {
  async function own(names = { var: "my_model.pth", vqvae: "vqvae.safetensors" }) {
    const folder = await mkdtemp(join(home, "own-"));
    await writeFile(join(folder, names.var), FILES.var);
    await writeFile(join(folder, names.vqvae), FILES.vqvae);
    return { folder, var: join(folder, names.var), vqvae: join(folder, names.vqvae) };
  }

  test("is added by reference, told what it is, used by name, and its files survive rm", async () => {
    const files = await own();
    const added = await underpaint("models", "add", files.var);
    expect(added.err).toMatch(/added my_model: VAR of depth 2, 8 x 8 pixels, 3 classes/);
    expect(added.code).toBe(0);
    const listed = await underpaint("models", "list");
    expect(listed.out).toMatch(/my_model +8 x 8 pixels +3 classes .*added: .*my_model\.pth/);
    const out = join(home, "own.png");
    expect((await underpaint("sample", "--model", "my_model", "--out", out)).code).toBe(0);
    expect((await underpaint("info", "my_model")).out).toMatch(/VAR transformer/);
    expect((await underpaint("models", "verify", "my_model")).code).toBe(0);
    await refused(["models", "add", files.var], 2, /name "my_model" is taken; .*rm my_model/);
    expect((await underpaint("models", "rm", "my_model")).code).toBe(0);
    expect(existsSync(files.var)).toBe(true);
    await refused(["sample", "--model", "my_model"], 2, /neither embedded nor pulled or added/);
  });

  test("is copied with --copy: the originals may go, the copies go with rm", async () => {
    const files = await own();
    expect((await underpaint("models", "add", files.folder, "--name", "kept")).code).toBe(2);
    const args = ["models", "add", files.var, "--name", "kept", "--copy"];
    expect((await underpaint(...args)).code).toBe(0);
    await rm(files.folder, { recursive: true });
    expect((await underpaint("models", "verify", "kept")).code).toBe(0);
    await underpaint("models", "rm", "kept");
    expect(await readdir(join(cache, "models/added"))).toEqual([]);
  });

  test("that changes afterwards is noticed, at use by its size, by verify in every byte", async () => {
    const files = await own();
    await underpaint("models", "add", files.var, "--name", "mine");
    const { atime, mtime } = await stat(files.var);
    await writeFile(files.var, FILES.other);
    await utimes(files.var, atime, mtime);
    await refused(["models", "verify", "mine"], 2, /is not the file that was recorded/);
    await rm(files.vqvae);
    await refused(["sample", "--model", "mine"], 2, /vqvae\.safetensors is gone/);
  });

  test("in a folder with the official names is found there", async () => {
    const { folder } = await own({ var: "var_d16.pth", vqvae: VAE });
    expect((await underpaint("models", "add", folder, "--name", "there")).code).toBe(0);
    const out = join(home, "there.png");
    expect((await underpaint("sample", "--model", folder, "--out", out)).code).toBe(0);
  });

  test("may be one checkpoint of the official trainer, which holds both", async () => {
    const under = (prefix: string, tensors: TensorMap) =>
      [...tensors].map(([name, tensor]) => [`trainer.${prefix}.${name}`, tensor] as const);
    const both = new Map([
      ...under("var_wo_ddp", initWeights(varSpecs(transformer), rng("transformer"))),
      ...under("vae_local", initWeights(vqvaeSpecs(tokenizer), rng("tokenizer"))),
    ]);
    const folder = await mkdtemp(join(home, "own-"));
    const file = join(folder, "ar-ckpt-last.safetensors");
    await writeFile(file, writeSafetensors(both));
    const added = await underpaint("models", "add", file, "--name", "trained");
    expect(added.err).toMatch(/added trained: VAR of depth 2, 8 x 8 pixels, 3 classes/);
    const [one, two] = ["trained", (await own()).var].map((model, i) => ({
      model,
      out: join(home, `same-${i}.png`),
    }));
    for (const { model, out } of [one!, two!])
      expect((await underpaint("sample", "0", "--model", model, "--out", out)).code).toBe(0);
    const pixels = async (path: string) => (await decodePng(await readFile(path))).data;
    expect(await pixels(one!.out)).toEqual(await pixels(two!.out));
  });

  test("may not take a name that is kept, nor one that is a path", async () => {
    const files = await own();
    const add = (name: string) => ["models", "add", files.var, "--name", name];
    await refused(add("var-d16"), 2, /is kept for the official model/);
    await refused(add("emoji64"), 2, /is that of an embedded model/);
    for (const name of ["../x", "a/b", ".hidden", "", "a\\b", "x".repeat(65)])
      await refused(add(name), 2, /cannot be the name of a model/);
    expect(existsSync(join(cache, "models"))).toBe(false);
  });

  test("that is none, or half of one, is refused for what it holds", async () => {
    const files = await own();
    const text = join(files.folder, "notes.txt");
    await writeFile(text, "hello, world");
    await refused(["models", "add", text], 2, /notes\.txt: /);
    await refused(["models", "add", files.vqvae], 2, /holds a tokenizer .*wanted a VAR/);
    await refused(["models", "add", join(files.folder, "none.pth")], 2, /no such file or folder/);
    await rm(files.vqvae);
    await refused(["models", "add", files.var], 2, /its tokenizer .* name it with --tokenizer/);
  });
});

test("what came with the package is not removed, what nobody knows is suggested", async () => {
  await refused(["models", "rm", "emoji64"], 2, /came with the package/);
  await refused(["models", "rm", "var-d61"], 2, /did you mean "var-d16"/);
  await refused(["sample", "--model", "emoji46"], 2, /did you mean "emoji64"/);
  expect((await underpaint("models", "rm", "var-d24")).err).toMatch(/nothing of var-d24 is here/);
});

test("a note that is damaged is named, not believed", async () => {
  await underpaint("models", "pull", "var-d16");
  for (const note of ["{", "[]", '{"format":1,"size":5,"sha256":"x"}', '{"format":9}']) {
    await writeFile(join(official, "var_d16.pth.json"), note);
    await refused(["models", "list"], 2, /var_d16\.pth\.json/);
  }
});
