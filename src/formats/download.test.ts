/** Downloads from a server that fails in every way we thought of: the file is whole or absent. */

import { createHash } from "node:crypto";
import * as realFs from "node:fs/promises";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Fault, type FaultyServer, faultyServer } from "../../test/faulty-server.ts";
import { type DownloadOptions, type DownloadStep, download } from "./download.node.ts";
import { InputError } from "./errors.ts";
import { type Fs, Part, removeParts } from "./part.node.ts";
import { DownloadError } from "./request.node.ts";

const sha = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
/** Bytes that repeat nowhere. */
const made = (n: number, seed = 1): Uint8Array =>
  Uint8Array.from({ length: n }, (_, i) => (Math.imul(i + seed, 2654435761) >>> 13) & 255);
const BODY = made(300_000);

let home = "";
let server: FaultyServer;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "download-"));
  server = await faultyServer({ "/f": BODY });
});
afterEach(() => {
  server.faults.length = 0;
  server.requests.length = 0;
  server.files.set("/f", BODY);
  server.extra = () => ({});
});
afterAll(async () => {
  await server.close();
  await rm(home, { recursive: true });
});

let folders = 0;
async function place(): Promise<string> {
  const folder = join(home, `d${folders++}`);
  await mkdir(folder);
  return join(folder, "file.pth");
}

// The idle time is long: a busy machine may keep a test waiting for seconds.
const QUICK: DownloadOptions = { pause: 1, idle: 20_000, enough: 1 };

async function fetchTo(path: string, options: DownloadOptions = {}): Promise<DownloadStep[]> {
  const steps: DownloadStep[] = [];
  for await (const step of download(`${server.url}/f`, path, { ...QUICK, ...options }))
    steps.push(step);
  return steps;
}

const around = async (path: string) => (await readdir(join(path, ".."))).sort();
const failed = async (path: string, options?: DownloadOptions): Promise<Error> =>
  fetchTo(path, options).then(
    () => expect.unreachable("it should have failed"),
    (error) => error,
  );

describe("a download", () => {
  test("puts the file there, says its hash, and leaves nothing beside it", async () => {
    const path = await place();
    const steps = await fetchTo(path);
    const done = { state: "done", size: BODY.length, sha256: sha(BODY), resumed: 0 };
    expect(steps.at(-1)).toMatchObject(done);
    expect(steps.find((s) => s.state === "receiving")).toMatchObject({ of: BODY.length });
    expect(Buffer.compare(await readFile(path), BODY)).toBe(0);
    expect(await around(path)).toEqual(["file.pth"]);
  });

  test("goes on where the connection broke, asking only for the rest of the same file", async () => {
    const path = await place();
    server.faults.push({ kind: "drop", cut: 100_000 }, { kind: "drop", cut: 50_000 });
    await fetchTo(path);
    expect(Buffer.compare(await readFile(path), BODY)).toBe(0);
    const asked = server.requests.map(({ headers }) => [headers.range, headers["if-range"]]);
    expect(asked[0]).toEqual([undefined, undefined]);
    expect(asked).toHaveLength(3);
    // How much of what was sent before the break arrives is the network's affair.
    for (const [range, tag] of asked.slice(1)) {
      expect(range).toMatch(/^bytes=[1-9]\d*-$/);
      expect(tag).toMatch(/^"/);
    }
  });

  test("stopped in the middle keeps its part; the next one asks for the rest only", async () => {
    const path = await place();
    server.faults.push({ kind: "stall", cut: 120_000 });
    const stop = new AbortController();
    const reason = new Error("Ctrl-C");
    const stopped = (async () => {
      const options = { ...QUICK, signal: stop.signal };
      for await (const step of download(`${server.url}/f`, path, options))
        if (step.state === "receiving" && step.received === 120_000) stop.abort(reason);
    })();
    await expect(stopped).rejects.toBe(reason);
    expect(await around(path)).toEqual(["file.pth.part"]);
    const steps = await fetchTo(path);
    expect(steps.at(-1)).toMatchObject({ state: "done", resumed: 120_000, sha256: sha(BODY) });
    expect(server.requests.at(-1)!.headers.range).toBe("bytes=120000-");
    expect(await around(path)).toEqual(["file.pth"]);
  });

  test("whose consumer breaks off keeps its part as well", async () => {
    const path = await place();
    for await (const { state } of download(`${server.url}/f`, path, QUICK))
      if (state === "receiving") break;
    expect(await around(path)).toEqual(["file.pth.part"]);
    await fetchTo(path);
    expect(Buffer.compare(await readFile(path), BODY)).toBe(0);
  });

  test("of an empty file is no special case", async () => {
    server.files.set("/f", new Uint8Array());
    const path = await place();
    await fetchTo(path);
    expect(await readFile(path)).toHaveLength(0);
  });
});

describe("the file is never mixed from two", () => {
  const OTHER = made(310_000, 77);

  test("one replaced between the attempts is fetched anew", async () => {
    const path = await place();
    server.faults.push({ kind: "drop", cut: 100_000 }, { kind: "replace", body: OTHER });
    await fetchTo(path);
    expect(Buffer.compare(await readFile(path), OTHER)).toBe(0);
  });

  test("nor under a weak validator, nor without one", async () => {
    for (const kind of ["weak etag", "no etag"] as const) {
      const path = await place();
      server.files.set("/f", BODY);
      server.faults.push({ kind }, { kind: "ok" });
      const stop = new AbortController();
      const options = { ...QUICK, signal: stop.signal };
      await expect(async () => {
        for await (const { state } of download(`${server.url}/f`, path, options))
          if (state === "receiving") stop.abort(new Error("stop"));
      }).rejects.toThrow("stop");
      server.files.set("/f", OTHER);
      await fetchTo(path);
      expect(Buffer.compare(await readFile(path), OTHER)).toBe(0);
    }
  });

  test("a server that ignores ranges sends all of it, which replaces the part", async () => {
    const path = await place();
    server.faults.push({ kind: "drop", cut: 100_000 }, { kind: "ignore range" });
    await fetchTo(path);
    expect(Buffer.compare(await readFile(path), BODY)).toBe(0);
  });

  test("another address is another file, unless the hash is known", async () => {
    const path = await place();
    server.files.set("/g", OTHER);
    server.faults.push({ kind: "drop", cut: 100_000 }, { kind: "status", status: 404 });
    await failed(path);
    for await (const _ of download(`${server.url}/g`, path, QUICK));
    expect(Buffer.compare(await readFile(path), OTHER)).toBe(0);

    const known = await place();
    server.files.set("/h", BODY);
    server.faults.push({ kind: "drop", cut: 100_000 }, { kind: "status", status: 404 });
    await failed(known, { sha256: sha(BODY) });
    const options = { ...QUICK, sha256: sha(BODY) };
    for await (const _ of download(`${server.url}/h`, known, options));
    expect(server.requests.at(-1)!.headers.range).toMatch(/^bytes=[1-9]/);
    expect(Buffer.compare(await readFile(known), BODY)).toBe(0);
  });

  test("a range that was not asked for is not taken", async () => {
    const path = await place();
    server.faults.push({ kind: "drop", cut: 1000 }, { kind: "wrong range" });
    await fetchTo(path);
    expect(Buffer.compare(await readFile(path), BODY)).toBe(0);
  });

  test("a file that has become shorter than the part is fetched anew", async () => {
    const path = await place();
    server.faults.push({ kind: "drop", cut: 250_000 }, { kind: "status", status: 416 });
    await fetchTo(path);
    expect(Buffer.compare(await readFile(path), BODY)).toBe(0);
  });
});

describe("what cannot be right is refused in one sentence, and no file appears", () => {
  /** Sentence, kind of error, and that nothing of the file's name is there. */
  async function refused(
    faults: Fault[],
    sentence: RegExp,
    options: DownloadOptions & { kind?: typeof InputError | typeof DownloadError } = {},
  ) {
    const path = await place();
    server.faults.push(...faults);
    const { kind = DownloadError, ...rest } = options;
    const error = await failed(path, rest);
    expect(error.message).toMatch(sentence);
    expect(error.message).not.toContain("\n");
    expect(error).toBeInstanceOf(kind);
    expect(await around(path)).not.toContain("file.pth");
    return path;
  }

  test("wrong bytes, of which nothing is kept", async () => {
    const wanted = { sha256: sha(BODY), kind: InputError };
    const path = await refused([{ kind: "flip", at: 5 }], /bytes are wrong: .*wanted/, wanted);
    expect(await around(path)).toEqual([]);
  });

  test("wrong bytes by the hub's own word", async () => {
    server.extra = () => ({ "x-linked-etag": `"${sha(BODY)}"` });
    await refused([{ kind: "flip", at: 5 }], /bytes are wrong/, { kind: InputError });
  });

  test("a hub that has another file than the one recorded, before a byte comes", async () => {
    server.extra = () => ({ "x-linked-etag": `"${sha(BODY)}"` });
    const options = { sha256: sha(made(5)), kind: InputError };
    expect(await around(await refused([], /another file than before/, options))).toEqual([]);
  });

  test("a login page in place of a model", async () => {
    const options = { between: [400_000, 500_000] as const, kind: InputError };
    await refused([], /300000 bytes are announced, wanted .*login page/, options);
    await refused([{ kind: "chunked" }], /300000 bytes came, wanted/, options);
  });

  test("more than can be right, announced or not", async () => {
    const options = { between: [10, 200_000] as const, kind: InputError };
    await refused([], /announced/, options);
    expect(
      await around(await refused([{ kind: "chunked" }], /more than the 200000/, options)),
    ).toEqual([]);
  });

  test("a length that promises more than comes, again and again", async () => {
    const more = Array.from({ length: 9 }, () => ({ kind: "length", more: 10 }) as const);
    await refused(more, /gave up after 3 attempts; .* are kept/, { attempts: 3, enough: 1e6 });
  });

  test("a length that promises less, against the hash", async () => {
    const options = { sha256: sha(BODY), kind: InputError };
    await refused([{ kind: "length", more: -10 }], /bytes are wrong/, options);
  });

  test("an end that cannot be told from a broken connection", () =>
    refused([{ kind: "until close", cut: 1000 }], /does not tell how long the file is/));

  test("a compressed body", () => refused([{ kind: "compressed" }], /compressed \(gzip\)/));

  test("a status, tried again only where that may help", async () => {
    await refused([{ kind: "status", status: 404 }], /HTTP 404, it has no such file/);
    expect(server.requests).toHaveLength(1);
    await refused([{ kind: "status", status: 418 }], /HTTP 418/);
    expect(server.requests).toHaveLength(2);
    const errors = [500, 502, 503].map((status) => ({ kind: "status", status }) as const);
    await refused(errors, /HTTP 503.*gave up after 3 attempts/, { attempts: 3 });
    expect(server.requests).toHaveLength(5);
  });

  test("a server that asks for an hour's patience", () =>
    refused(
      [{ kind: "status", status: 429, headers: { "retry-after": "3600" } }],
      /HTTP 429.* asks to wait 60 minutes/,
    ));

  test("redirects in a circle, to plain http elsewhere, to another kind of address, to nowhere", async () => {
    const circle = Array.from({ length: 20 }, () => ({ kind: "redirect", to: "/f" }) as const);
    await refused(circle, /more than 10 redirects/);
    server.faults.length = 0;
    await refused([{ kind: "redirect", to: "http://example.org/f" }], /which is not https/);
    await refused([{ kind: "redirect", to: "file:///etc/passwd" }], /which is not https/);
    await refused([{ kind: "redirect", to: "http://" }], /redirects to nowhere/);
  });

  test("a host that nobody is", async () => {
    const path = await place();
    const run = async (url: string, options = QUICK) => {
      for await (const _ of download(url, path, options));
    };
    await expect(run("https://nobody.invalid/f")).rejects.toThrow(/nobody.invalid/);
    await expect(run("ftp://nobody.invalid/f")).rejects.toThrow(/must begin with https/);
    await expect(run("nonsense")).rejects.toThrow(InputError);
    expect(await around(path)).toEqual([]);
  });
});

describe("what passes is waited for", () => {
  const waits = (steps: DownloadStep[]) => steps.filter((s) => s.state === "waiting");

  test("429 with Retry-After, in seconds and as a date by the server's clock", async () => {
    const date = "Sun, 01 Jan 2017 10:00:00 GMT";
    const later = "Sun, 01 Jan 2017 10:00:01 GMT";
    server.faults.push(
      { kind: "status", status: 429, headers: { "retry-after": "0" } },
      { kind: "status", status: 503, headers: { "retry-after": later, date } },
    );
    const [first, second] = waits(await fetchTo(await place()));
    expect(first).toMatchObject({ ms: 1, why: expect.stringMatching(/HTTP 429/) });
    expect(second).toMatchObject({ ms: 1000 });
  });

  test("a server that stops sending is left after the idle time", async () => {
    server.faults.push({ kind: "stall", cut: 1000 });
    const steps = await fetchTo(await place(), { idle: 100 });
    expect(waits(steps)[0]).toMatchObject({ why: expect.stringMatching(/nothing came for/) });
  });

  test("the pause doubles while nothing is gained, and an abort ends it", async () => {
    server.faults.push(...Array.from({ length: 4 }, () => ({ kind: "refuse" }) as const));
    const path = await place();
    expect(waits(await fetchTo(path)).map((s) => s.ms)).toEqual([1, 2, 4, 8]);
    server.faults.push({ kind: "refuse" });
    const stop = new AbortController();
    const options = { ...QUICK, pause: 60_000, signal: stop.signal };
    const run = async () => {
      for await (const { state } of download(`${server.url}/f`, path, options))
        if (state === "waiting") setTimeout(() => stop.abort(new Error("Ctrl-C")), 10);
    };
    await expect(run()).rejects.toThrow("Ctrl-C");
  });

  test("a server that never gets farther is given up although every attempt brings bytes", async () => {
    const drops = Array.from({ length: 50 }, () => ({ kind: "drop", cut: 100_000 }) as const);
    server.faults.push(...drops);
    server.extra = () => ({ etag: "" });
    const error = await failed(await place(), { attempts: 4, enough: 1000 });
    expect(error.message).toMatch(/gave up after 4 attempts/);
    expect(server.requests.length).toBeLessThan(7);
  });

  test("a redirect within the loopback is followed, and the hub's hash is remembered", async () => {
    server.extra = () => ({ "x-linked-etag": `"${sha(BODY)}"`, "x-repo-commit": "a".repeat(40) });
    server.faults.push({ kind: "redirect", to: `${server.url}/f?signature=1` });
    const steps = await fetchTo(await place());
    expect(steps.at(-1)).toMatchObject({ state: "done", commit: "a".repeat(40) });
    expect(server.requests.map((r) => r.path)).toEqual(["/f", "/f"]);
  });
});

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

/** The real file system, except for one method of the files it opens: `change` returns its arguments or its result. */
function changed(
  method: string,
  change: (args: unknown[], path: string) => unknown[] | Promise<void>,
): Fs {
  const open = async (path: string, flags: string, mode?: number) =>
    new Proxy(await realFs.open(path, flags, mode), {
      get: (target, key) => {
        const member = Reflect.get(target, key);
        if (typeof member !== "function") return member;
        return (...args: unknown[]) => {
          const other = key === method ? change(args, path) : args;
          return Array.isArray(other) ? member.apply(target, other) : other;
        };
      },
    });
  return { ...realFs, open } as unknown as Fs;
}

/** A disk that takes no more than `most` bytes of the file. */
function fullAfter(most: number): Fs {
  let written = 0;
  return changed("write", ([bytes, at, length, position], path) => {
    if (!path.endsWith("bytes")) return [bytes, at, length, position];
    const fits = Math.min(length as number, most - written);
    if (fits === 0) throw Object.assign(new Error("ENOSPC"), { code: "ENOSPC" });
    written += fits;
    return [bytes, at, fits, position];
  });
}

/** Thousands of syncs would wait for a disk that others use. */
const UNSYNCED = changed("sync", async () => {});

describe("whatever happens in whatever order", () => {
  const cut = fc.integer({ min: 0, max: 20_000 });
  const bodies = [made(20_000), made(20_000, 5), made(17_000, 9)];
  const fault: fc.Arbitrary<Fault> = fc.oneof(
    fc.record({ kind: fc.constant("drop" as const), cut }),
    fc.record({ kind: fc.constantFrom("refuse", "ok", "ignore range", "no etag" as const) }),
    fc.record({ kind: fc.constantFrom("wrong range", "weak etag", "compressed" as const) }),
    fc.record({ kind: fc.constantFrom("chunked" as const), cut }),
    fc.record({ kind: fc.constant("until close" as const), cut }),
    fc.record({
      kind: fc.constant("status" as const),
      status: fc.constantFrom(404, 408, 416, 429, 500, 503),
    }),
    fc.record({ kind: fc.constant("length" as const), more: fc.integer({ min: 1, max: 99 }) }),
    fc.record({ kind: fc.constant("replace" as const), body: fc.constantFrom(...bodies) }),
    fc.record({ kind: fc.constant("stop" as const), cut }) as unknown as fc.Arbitrary<Fault>,
  ) as fc.Arbitrary<Fault>;

  test("the file is byte for byte one that the server had, or absent; the last calm attempt succeeds", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fault, { maxLength: 12 }), async (faults) => {
        const path = await place();
        const had = new Set([sha(bodies[0]!)]);
        server.files.set("/f", bodies[0]!);
        server.faults.length = 0;
        for (const f of faults) {
          if (f.kind === "replace") had.add(sha(f.body));
          if ((f.kind as string) !== "stop") server.faults.push(f);
        }
        const stops = faults.flatMap((f) => ((f as { kind: string }).kind === "stop" ? [f] : []));
        for (let i = 0; ; i++) {
          const stop = stops[i] as { cut: number } | undefined;
          const calm = server.faults.length === 0 && !stop;
          let ok = false;
          try {
            const options = { ...QUICK, attempts: 2, fs: UNSYNCED };
            for await (const step of download(`${server.url}/f`, path, options)) {
              if (step.state === "receiving" && stop && step.received >= stop.cut) break;
              ok = step.state === "done";
            }
          } catch (error) {
            if (!(error instanceof DownloadError) && !(error instanceof InputError)) throw error;
            expect(calm).toBe(false);
          }
          const names = await around(path);
          if (names.includes("file.pth")) {
            expect(had).toContain(sha(await readFile(path)));
            expect(names).toEqual(["file.pth"]);
            expect(ok).toBe(true);
            return;
          }
          expect(calm).toBe(false);
        }
      }),
      { numRuns: 40 },
    );
  });

  test("with the hash known, flipped bytes never get through and honest ones do in the end", async () => {
    const flips = fc.oneof(
      fault,
      fc.record({ kind: fc.constant("flip" as const), at: cut }) as fc.Arbitrary<Fault>,
    );
    const sha256 = sha(bodies[0]!);
    await fc.assert(
      fc.asyncProperty(fc.array(flips, { maxLength: 10 }), async (faults) => {
        const path = await place();
        server.faults.length = 0;
        server.faults.push(...faults.filter((f) => (f.kind as string) !== "stop"));
        for (;;) {
          const calm = server.faults.length === 0;
          if (calm) server.files.set("/f", bodies[0]!);
          const end = await fetchTo(path, { attempts: 2, sha256, fs: UNSYNCED }).catch(
            (error: Error) => error,
          );
          if (!(end instanceof Error)) break;
          expect(calm).toBe(false);
          expect(await around(path)).not.toContain("file.pth");
        }
        expect(sha(await readFile(path))).toBe(sha256);
        expect(await around(path)).toEqual(["file.pth"]);
      }),
      { numRuns: 40 },
    );
  });
});
