/** Models signed and verified on disk: samples by model-signing itself, and every way to alter a model. */

import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { InputError } from "../../formats/errors.ts";
import { parseJson } from "../../formats/json.ts";
import { openBundles, readBundles, signBundle } from "./bundle.ts";
import { canonicalBytes } from "./canonical.ts";
import { utf8 } from "./encoding.ts";
import { type SignOptions, signModel, type Verified, verifyModel } from "./folder.node.ts";
import { generateKey, type PrivateKey, type PublicKey, readPublicKey } from "./keys.ts";
import { byPath, type ModelManifest, manifestStatement, readManifest } from "./manifest.ts";

const FIXTURES = fileURLToPath(new URL("../../../test/fixtures/model-signing/", import.meta.url));

let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "underpaint-sign-"));
});
afterEach(() => rm(home, { recursive: true }));

async function put(files: Readonly<Record<string, string>>): Promise<string> {
  const model = join(home, "model");
  for (const [path, text] of Object.entries(files)) {
    await mkdir(join(model, path, ".."), { recursive: true });
    await writeFile(join(model, path), text);
  }
  return model;
}

async function signed(model: string, key: PrivateKey, options: SignOptions = {}): Promise<void> {
  for await (const _step of signModel(model, key, options));
}

async function verified(model: string, key: PublicKey, signature?: string): Promise<Verified> {
  let found: Verified | undefined;
  for await (const step of verifyModel(model, key, { signature })) found = step.verified;
  return found!;
}

const states = ({ differences }: Verified) => differences.map((d) => `${d.state} ${d.path}`);

describe("samples that model-signing wrote", () => {
  const key = async () =>
    readPublicKey(await readFile(join(FIXTURES, "signing-key-pub.pem"), "utf8"));

  test.each(["v1.0.1", "v1.1.0"])("%s of a folder verifies", async (version) => {
    const model = await put({
      "signme-1": "signme-1\n",
      "signme-2": "signme-2",
      "model.sig": await readFile(join(FIXTURES, `${version}.sig`), "utf8"),
      ".gitignore": "anything",
      ...(version === "v1.1.0" && { "ignore-me": "anything" }),
    });
    const found = await verified(model, await key());
    expect(found.differences).toEqual([]);
    expect(found.manifest.name).toBe(`${version}-elliptic-key`);
    expect(found.ignored).toContain(".gitignore");
    await writeFile(join(model, "signme-2"), "signme-3");
    await writeFile(join(model, "more"), "");
    expect(states(await verified(model, await key()))).toEqual(["changed signme-2", "added more"]);
  });

  test.each(["v0.3.1", "v1.0.0"])("%s of a single file verifies", async (version) => {
    const model = await put({ "signme-1": "signme-1\n" });
    const [file, signature] = [join(model, "signme-1"), join(FIXTURES, `${version}.sig`)];
    expect((await verified(file, await key(), signature)).differences).toEqual([]);
    await writeFile(file, "signme-1");
    expect(states(await verified(file, await key(), signature))).toEqual(["changed ."]);
  });

  test("with another key, or altered, they are refused before any file is read", async () => {
    const model = await put({ "signme-1": "signme-1\n", "signme-2": "signme-2" });
    const text = await readFile(join(FIXTURES, "v1.1.0.sig"), "utf8");
    await writeFile(join(model, "model.sig"), text);
    const other = (await generateKey("p384")).publicKey;
    await expect(verified(model, other)).rejects.toThrow(/was signed with the key e8450dec/);
    const payload = /"payload":"([^"]+)"/.exec(text)![1]!;
    const altered = Buffer.from(payload, "base64").toString().replace("signme-2", "signme-3");
    const forged = text.replace(payload, Buffer.from(altered).toString("base64"));
    await writeFile(join(model, "model.sig"), forged);
    await expect(verified(model, await key())).rejects.toThrow(/no signature on it/);
  });
});

describe("our own signatures", () => {
  test.each(["ed25519", "p256", "p384", "p521"] as const)(
    "%s: a model verifies until any file changes, goes or comes",
    async (type) => {
      const key = await generateKey(type);
      const model = await put({
        "a/b": "one",
        "a-b": "two",
        c: "",
        ".hidden": "x",
        ".git/HEAD": "y",
      });
      await signed(model, key);
      const first = await verified(model, key.publicKey);
      expect(first.differences).toEqual([]);
      expect(first.manifest.resources.map((r) => r.name)).toEqual([".hidden", "a/b", "a-b", "c"]);
      expect(first.ignored).toEqual([".git"]);
      await writeFile(join(model, "a/b"), "One");
      await rm(join(model, "c"));
      await writeFile(join(model, "a/z.py"), "evil");
      expect(states(await verified(model, key.publicKey)).sort()).toEqual([
        "added a/z.py",
        "changed a/b",
        "missing c",
      ]);
    },
  );

  test("a bundle has the members that model-signing 1.1 writes, and no others", async () => {
    const key = await generateKey("p256");
    const model = await put({ f: "x" });
    await signed(model, key);
    const shape = (value: unknown): unknown =>
      Array.isArray(value)
        ? value.map(shape)
        : value && typeof value === "object"
          ? Object.fromEntries(Object.entries(value).map(([k, v]) => [k, shape(v)]))
          : typeof value;
    const ours = JSON.parse(await readFile(join(model, "model.sig"), "utf8"));
    const theirs = JSON.parse(await readFile(join(FIXTURES, "v1.1.0.sig"), "utf8"));
    expect(shape(ours)).toEqual(shape(theirs));
    const inner = (bundle: { dsseEnvelope: { payload: string } }) =>
      JSON.parse(Buffer.from(bundle.dsseEnvelope.payload, "base64").toString());
    const keys = (value: object) => Object.keys(value).sort();
    expect(keys(inner(ours))).toEqual(keys(inner(theirs)));
    expect(keys(inner(ours).predicate.serialization)).toEqual(
      keys(inner(theirs).predicate.serialization),
    );
    expect(keys(inner(ours).predicate.resources[0])).toEqual(
      keys(inner(theirs).predicate.resources[0]),
    );
  });

  test("every byte of a signature file matters", async () => {
    const key = await generateKey();
    const model = await put({ f: "x" });
    await signed(model, key);
    const good = await readFile(join(model, "model.sig"));
    const honest = readManifest(await openBundles(readBundles(good.toString()), key.publicKey));
    const passed: number[] = [];
    for (let at = 0; at < good.length; at++) {
      const bent = Buffer.from(good);
      bent[at]! ^= 1;
      try {
        const opened = await openBundles(readBundles(bent.toString()), key.publicKey);
        expect(readManifest(opened)).toEqual(honest);
        passed.push(at);
      } catch (error) {
        expect(error).toBeInstanceOf(InputError);
      }
    }
    // Members that nobody signed and nobody believes: "hint", "tlogEntries" and "keyid" may change their names.
    const text = good.toString();
    const unsigned = [...text.matchAll(/"(hint|tlogEntries|keyid)"/g)].map((m) => [
      m.index,
      m.index + m[0].length,
    ]);
    const stray = passed.filter((at) => !unsigned.some(([from, to]) => at >= from! && at < to!));
    expect(stray).toEqual([]);
  });

  test("symbolic links are refused, unless their files are wanted", async () => {
    const key = await generateKey();
    const model = await put({ f: "x" });
    await writeFile(join(home, "outside"), "secret");
    await symlink(join(home, "outside"), join(model, "link"));
    await expect(signed(model, key)).rejects.toThrow(/symbolic link/);
    await signed(model, key, { allowSymlinks: true });
    expect((await verified(model, key.publicKey)).differences).toEqual([]);
    await writeFile(join(home, "outside"), "other");
    expect(states(await verified(model, key.publicKey))).toEqual(["changed link"]);
    await symlink(home, join(model, "folder"));
    await expect(verified(model, key.publicKey)).rejects.toThrow(/link to a folder/);
  });

  test("ignored paths are written down and reported", async () => {
    const key = await generateKey();
    const model = await put({ f: "x", "logs/a": "1" });
    await signed(model, key, { ignore: ["logs"] });
    await writeFile(join(model, "logs/b"), "2");
    const found = await verified(model, key.publicKey);
    expect(found.differences).toEqual([]);
    expect(found.ignored).toEqual(["logs"]);
  });

  test("several bundles, one a line: the one of the key counts", async () => {
    const [one, two] = [await generateKey(), await generateKey("p256")];
    const model = await put({ f: "x" });
    const file = join(home, "claims.jsonl");
    await signed(model, one, { signature: file });
    const first = await readFile(file, "utf8");
    await signed(model, two, { signature: file });
    await writeFile(file, `${first}\n${await readFile(file, "utf8")}\n`);
    for (const key of [one, two])
      expect((await verified(model, key.publicKey, file)).differences).toEqual([]);
  });

  test("an empty folder, and a folder that is not there, are refused", async () => {
    const key = await generateKey();
    await mkdir(join(home, "model"));
    await expect(signed(join(home, "model"), key)).rejects.toThrow(/no file to sign/);
    await expect(signed(join(home, "nowhere"), key)).rejects.toThrow(/no such file/);
  });
});

describe("statements", () => {
  const manifest = (names: readonly string[]): ModelManifest => ({
    name: "m",
    serialization: { method: "files", hashType: "sha256", allowSymlinks: false },
    resources: names.map((name) => ({ name, algorithm: "sha256", digest: "ab".repeat(32) })),
  });

  test.each([["../x"], ["/x"], ["a/../b"], ["a//b"], ["a\u0007b"], ["a", "a"]])(
    "a list with the paths %j is refused",
    (...names) => {
      expect(() => readManifest(canonicalBytes(manifestStatement(manifest(names))))).toThrow(
        InputError,
      );
    },
  );

  test("a root digest that is not that of the files is refused", () => {
    const text = new TextDecoder().decode(canonicalBytes(manifestStatement(manifest(["a", "b"]))));
    expect(() => readManifest(utf8(text.replace('"name":"b"', '"name":"c"')))).not.toThrow();
    expect(() => readManifest(utf8(text.replace("abab", "acab")))).toThrow(/hash to/);
  });

  test("pieces, as model-signing's own golden payload has them, add up to its root digest", () => {
    const digests = [
      ["d0/f00:0:23", "fdd8925354242a7fd1515e79534317b800015607a609cd306e0b4dcfe6c92249"],
      ["d0/f01:0:23", "e16940b5e44ce981150bda37c4ba95881a749a521b4a297c5cdf97bdcfe965e6"],
      ["d0/f02:0:23", "407822246ea8f9e26380842c3f4cd10d7b23e78f1fe7c74c293608682886a426"],
      ["d1/f10:0:23", "6a3b08b5df77c4d418ceee1ac136a9ad49fc7c41358b5e82c1176daccb21ff3f"],
      ["d1/f11:0:23", "a484b3d8ea5e99b75f9f123f9a42c882388693edc7d85d82ccba54834712cadf"],
      ["d1/f12:0:23", "8f577930f5f40c2c2133cb299d36f9527fde98c1608569017cae6b5bcd01abb3"],
      ["f0:0:24", "997b37cc51f1ca1c7a270466607e26847429cd7264c30148c1b9352e224083fc"],
      ["f1:0:24", "c88a04d48353133fb065ba2c8ab369abab21395b9526aa20373ad828915fa7ae"],
      ["f2:0:24", "700e3ba5065d8dd47e41fd928ea086670d628f891ba363be0ca3c31d20d7d719"],
      ["f3:0:24", "912bcf5ebdf44dc7b4085b07940e0a81d157fba24b276e73fd911121d4544c4a"],
    ] as const;
    const algorithm = "sha256-sharded-1000000000";
    const resources = digests.map(([name, digest]) => ({ name, algorithm, digest }));
    expect([...resources].reverse().sort(byPath)).toEqual(resources);
    const serialization = {
      method: "shards",
      hashType: "sha256",
      allowSymlinks: true,
      shardSize: 1e9,
    } as const;
    const text = new TextDecoder().decode(
      canonicalBytes(manifestStatement({ name: "sample_model", serialization, resources })),
    );
    expect(text).toContain("143cc682e555951649f18e2761c3d526d2502996f5e32dc187ef7f8a614f8df7");
    expect(readManifest(utf8(text)).resources).toEqual(resources);
  });

  test("models signed in pieces are verified", async () => {
    const key = await generateKey("p256");
    const model = await put({ f: "0123456789", empty: "" });
    const { createHash } = await import("node:crypto");
    const piece = (text: string, from: number) => ({
      name: `f:${from}:${from + text.length}`,
      algorithm: "sha256-sharded-8",
      digest: createHash("sha256").update(text).digest("hex"),
    });
    const serialization = {
      method: "shards",
      hashType: "sha256",
      allowSymlinks: false,
      shardSize: 8,
    } as const;
    const statement = manifestStatement({
      name: "model",
      serialization,
      resources: [piece("01234567", 0), piece("89", 8)],
    });
    await writeFile(join(model, "model.sig"), await signBundle(key, canonicalBytes(statement)));
    expect((await verified(model, key.publicKey)).differences).toEqual([]);
    await writeFile(join(model, "f"), "012345678!");
    expect(states(await verified(model, key.publicKey))).toEqual(["changed f:8:10"]);
  });

  test("bundles of certificates and of other versions are refused with what they are", () => {
    const bundle = (
      material: object,
      mediaType = "application/vnd.dev.sigstore.bundle.v0.3+json",
    ) => JSON.stringify({ mediaType, verificationMaterial: material });
    expect(() => readBundles(bundle({ certificate: {} }))).toThrow(/signed with certificate/);
    expect(() => readBundles(bundle({}, "application/x"))).toThrow(/wanted application/);
    expect(() => parseJson("", "x")).toThrow(InputError);
  });
});
