/** Our signatures under an independent reading of the model-signing form (model_signing.py), and its signatures under ours. */

import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PYTHON } from "../../bench/machine.ts";
import { signModel, type Verified, verifyModel } from "../../src/guard/sign/folder.node.ts";
import {
  generateKey,
  type KeyType,
  readPrivateKey,
  readPublicKey,
} from "../../src/guard/sign/keys.ts";

const SCRIPT = fileURLToPath(new URL("model_signing.py", import.meta.url));
const found = spawnSync(PYTHON, ["-c", "import cryptography"]).status === 0;
const TYPES: readonly KeyType[] = ["ed25519", "p256", "p384", "p521"];

let home: string;
let model: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "underpaint-peer-"));
  model = join(home, "model");
  mkdirSync(join(model, "a"), { recursive: true });
  // Names whose order differs between paths and plain text.
  for (const [name, content] of [
    ["a/b", "1"],
    ["a-b", "22"],
    ["a.b", ""],
    ["é", "ü"],
    ["Z", "\0"],
  ] as const)
    writeFileSync(join(model, name), content);
});
afterEach(() => rmSync(home, { recursive: true }));

/** Runs the other reading; returns what it says on failure. */
const peer = (command: "sign" | "verify", key: string, signature: string): string => {
  const { status, stderr } = spawnSync(PYTHON, [SCRIPT, command, model, key, signature], {
    encoding: "utf8",
  });
  return status === 0 ? "" : stderr.trim().split("\n").at(-1)!;
};

describe.skipIf(!found)(
  "beside an independent reading (skipped where Python's cryptography is absent)",
  () => {
    const keys = async (type: KeyType) => {
      const key = await generateKey(type);
      const [privatePem, publicPem] = [await key.exportPem(), key.publicKey.pem];
      const [own, pub] = [join(home, "own.key"), join(home, "own.pub")];
      writeFileSync(own, privatePem);
      writeFileSync(pub, publicPem);
      return { own, pub, privatePem, publicPem };
    };

    test.each(TYPES)(
      "what we sign with %s verifies there, and no longer when a byte changes",
      async (type) => {
        const { pub, privatePem } = await keys(type);
        for await (const _ of signModel(model, await readPrivateKey(privatePem)));
        const signature = join(model, "model.sig");
        expect(peer("verify", pub, signature)).toBe("");
        writeFileSync(join(model, "a-b"), "23");
        expect(peer("verify", pub, signature)).toMatch(/files/);
      },
    );

    test.each(TYPES)(
      "what it signs with %s verifies here, and no longer when a byte changes",
      async (type) => {
        const { own, publicPem } = await keys(type);
        expect(peer("sign", own, join(model, "model.sig"))).toBe("");
        const check = async () => {
          let verified: Verified | undefined;
          for await (const step of verifyModel(model, await readPublicKey(publicPem)))
            verified = step.verified;
          return verified!.differences.map(({ state, path }) => `${state} ${path}`);
        };
        expect(await check()).toEqual([]);
        writeFileSync(join(model, "a/b"), "2");
        expect(await check()).toEqual(["changed a/b"]);
      },
    );
  },
);
