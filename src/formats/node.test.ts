/** Files on disk: formats told by content, and writes that leave the old file or the new one. */

import { mkdtemp, open, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sharedTest } from "../../test/shared.ts";
import type { Tensor } from "./dtype.ts";
import { InputError } from "./errors.ts";
import { openFile, readTensorFile, type WriteFs, writeFileAtomic } from "./node.ts";
import { writeSafetensors } from "./safetensors.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "formats-"));
});
afterAll(() => rm(folder, { recursive: true }));

const a: Tensor = { dtype: "float32", shape: [2], data: Float32Array.of(1, 2) };

describe("a checkpoint on disk", () => {
  test("is told by its content, not by its name", async () => {
    const path = join(folder, "wrong.pth");
    await writeFile(path, writeSafetensors(new Map([["a", a]]), { metadata: { k: "v" } }));
    expect(await readTensorFile(path)).toEqual({
      format: "safetensors",
      tensors: new Map([["a", a]]),
      metadata: { k: "v" },
    });
  });

  test("may be sharded", async () => {
    await writeFile(join(folder, "s-1.safetensors"), writeSafetensors(new Map([["a", a]])));
    const index = join(folder, "model.safetensors.index.json");
    await writeFile(index, JSON.stringify({ weight_map: { a: "s-1.safetensors" } }));
    expect(await readTensorFile(index)).toMatchObject({
      format: "safetensors-index",
      tensors: new Map([["a", a]]),
    });
    await writeFile(index, JSON.stringify({ weight_map: { a: "s-2.safetensors" } }));
    await expect(readTensorFile(index)).rejects.toThrow(/s-2.safetensors: there is no such file/);
  });

  for (const file of ["mini_zip.pth", "mini_legacy.pth"])
    sharedTest(`may be ${file}, read by range`, `fixtures/var/${file}`, async (path) => {
      const { format, tensors } = await readTensorFile(path!);
      expect([format, tensors.size]).toEqual(["pth", 7]);
    });

  test("that is none says so, with its path", async () => {
    for (const content of ["", "x", "hello world, this is text", "\x7fELF......"]) {
      const path = join(folder, "none");
      await writeFile(path, content);
      await expect(readTensorFile(path)).rejects.toThrow(InputError);
      await expect(readTensorFile(path)).rejects.toThrow(path);
    }
    await expect(openFile(join(folder, "absent"))).rejects.toThrow(/there is no such file/);
    await expect(openFile(folder)).rejects.toThrow(/not a plain file|folder/);
  });
});

describe("an atomic write", () => {
  test("replaces the file, from one piece or several, and leaves nothing else", async () => {
    const home = await mkdtemp(join(folder, "w-"));
    const path = join(home, "f");
    await writeFileAtomic(path, Buffer.from("old"));
    await writeFileAtomic(path, [Buffer.from("n"), Buffer.from(""), Buffer.from("ew")]);
    expect(await readFile(path, "utf8")).toBe("new");
    expect(await readdir(home)).toEqual(["f"]);
  });

  /** The real file system, except that its n-th call fails as a full disk does. */
  function failing(n: number): { fs: WriteFs; calls: () => number } {
    let calls = 0;
    const step = () => {
      if (++calls === n)
        throw Object.assign(new Error("ENOSPC: no space left"), { code: "ENOSPC" });
    };
    const fs = {
      rm,
      rename: async (from: string, to: string) => {
        step();
        return rename(from, to);
      },
      open: async (path: string, flags: string, mode?: number) => {
        step();
        const file = await open(path, flags, mode);
        return new Proxy(file, {
          get: (target, key) => {
            const member = Reflect.get(target, key);
            if (typeof member !== "function") return member;
            return (...args: unknown[]) => {
              // Half of the data gets written before the disk is full.
              if (key === "write" || key === "sync") step();
              if (key === "write" && n === 2) args[2] = Math.min(3, args[2] as number);
              return member.apply(target, args);
            };
          },
        });
      },
    } as unknown as WriteFs;
    return { fs, calls: () => calls };
  }

  test("on a full disk, at whichever call, leaves old or new whole and no other file", async () => {
    const home = await mkdtemp(join(folder, "w-"));
    const path = join(home, "f");
    let n = 1;
    for (; ; n++) {
      await writeFile(path, "old content");
      const { fs, calls } = failing(n);
      const error = await writeFileAtomic(path, Buffer.from("new content"), { fs }).catch((e) => e);
      if (calls() < n) break;
      expect(error.code).toBe("ENOSPC");
      // open, write, sync and rename fail before the new name stands; syncing the folder, after.
      expect(await readFile(path, "utf8")).toBe(n <= 4 ? "old content" : "new content");
      expect(await readdir(home)).toEqual(["f"]);
    }
    expect(n).toBe(7);
  });

  test("into a folder that is not there fails and leaves nothing", async () => {
    const home = await mkdtemp(join(folder, "w-"));
    await expect(writeFileAtomic(join(home, "no", "f"), Buffer.from("x"))).rejects.toThrow(
      /ENOENT/,
    );
    expect(await readdir(home)).toEqual([]);
  });
});
