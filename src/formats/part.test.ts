/** A file that is still being downloaded: whose it is, what of it counts, what a disk may do to it. */

import * as realFs from "node:fs/promises";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { describe, expect, test } from "vitest";
import {
  around,
  BODY,
  failed,
  fetchTo,
  place,
  QUICK,
  server,
  sha,
  withServer,
} from "../../test/downloads.ts";
import { fullAfter } from "../../test/odd-disks.ts";
import { download } from "./download.node.ts";
import { InputError } from "./errors.ts";
import { type Fs, Part, removeParts } from "./part.node.ts";

withServer();

describe("several processes", () => {
  test("a second download of the same file is refused while the first one lives", async () => {
    const path = await place();
    server.faults.push({ kind: "stall", cut: 1000 });
    for await (const { state } of download(`${server.url}/f`, path, QUICK)) {
      if (state !== "receiving") continue;
      await expect(fetchTo(path)).rejects.toThrow(/being downloaded by another process already/);
      break;
    }
    await fetchTo(path);
    expect(await around(path)).toEqual(["file.pth"]);
  });

  test("the part of a dead process is taken over, that of a living one or another machine is not", async () => {
    const path = await place();
    const host = hostname()
      .replace(/[^A-Za-z0-9]/g, "_")
      .slice(0, 40);
    const part = await Part.claim(path);
    await part.begin({ url: `${server.url}/f`, size: 300_000, etag: '"x"' });
    await part.append(BODY.subarray(0, 1000));
    await part.release();
    // No process has a number this high: Linux counts to 2^22.
    await realFs.rename(`${path}.part`, `${path}.part-${host}-999999999-0`);
    const again = await Part.claim(path);
    expect(again.length).toBe(1000);
    await again.release();
    await realFs.rename(`${path}.part`, `${path}.part-elsewhere-1-0`);
    const mine = await Part.claim(path);
    expect(mine.length).toBe(0);
    await mine.discard();
    await realFs.rename(`${path}.part-elsewhere-1-0`, `${path}.part-${host}-${process.ppid}-0`);
    await expect(Part.claim(path)).rejects.toThrow(/another process/);
    expect(await removeParts(path)).toBe(0);
  });

  test("many at once leave one whole file", async () => {
    const path = await place();
    const ends = await Promise.allSettled(Array.from({ length: 6 }, () => fetchTo(path)));
    expect(ends.some((end) => end.status === "fulfilled")).toBe(true);
    for (const end of ends)
      if (end.status === "rejected") expect(end.reason.message).toMatch(/another process/);
    expect(Buffer.compare(await readFile(path), BODY)).toBe(0);
    expect(await around(path)).toEqual(["file.pth"]);
  });
});

describe("a part on disk", () => {
  test("counts only what was surely written: a longer file is cut, a shorter one begins anew", async () => {
    const path = await place();
    const keep = async () => {
      const part = await Part.claim(path);
      await part.begin({ url: "u", size: 9, etag: '"x"' });
      await part.append(Uint8Array.of(1, 2, 3));
      await part.release();
    };
    await keep();
    await writeFile(`${path}.part/bytes`, Uint8Array.of(1, 2, 3, 0, 0, 0));
    const longer = await Part.claim(path);
    expect([longer.length, (await readFile(longer.file)).length]).toEqual([3, 3]);
    await longer.discard();
    await keep();
    await writeFile(`${path}.part/bytes`, Uint8Array.of(1));
    const shorter = await Part.claim(path);
    expect([shorter.length, shorter.source]).toEqual([0, undefined]);
    await shorter.discard();
  });

  test("with a note that is damaged begins anew", async () => {
    for (const note of ["", "{", '{"format":2}', "[]", '{"format":1,"url":5,"synced":3}']) {
      const path = await place();
      await mkdir(`${path}.part`);
      await writeFile(`${path}.part/bytes`, "abc");
      await writeFile(`${path}.part/source.json`, note);
      const part = await Part.claim(path);
      expect(part.length).toBe(0);
      await part.release();
      expect(await around(path)).toEqual([]);
    }
  });

  test("on a full disk is kept, and the sentence says what to do", async () => {
    const path = await place();
    const error = await failed(path, { fs: fullAfter(150_000) });
    expect(error).toBeInstanceOf(InputError);
    expect(error.message).toMatch(/file\.pth: the disk is full after \d+ bytes; free some space/);
    expect(await around(path)).toEqual(["file.pth.part"]);
    const steps = await fetchTo(path);
    expect(steps.at(-1)).toMatchObject({ state: "done", sha256: sha(BODY) });
    expect(server.requests.at(-1)!.headers.range).toMatch(/^bytes=[1-9]/);
  });

  test("that the disk has no room for is not begun", async () => {
    const path = await place();
    const fs = { ...realFs, statfs: async () => ({ bavail: 10, bsize: 1000 }) } as unknown as Fs;
    const error = await failed(path, { fs });
    expect(error.message).toMatch(
      /300000 bytes are still to come and the disk has 10000 bytes free/,
    );
    expect(await around(path)).toEqual([]);
  });
});
