/** Downloads from a server that fails in every way we thought of: the file is whole or absent. */

import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import {
  around,
  BODY,
  failed,
  fetchTo,
  made,
  place,
  QUICK,
  server,
  sha,
  withServer,
} from "../../test/downloads.ts";
import type { Fault } from "../../test/faulty-server.ts";
import { type DownloadOptions, type DownloadStep, download } from "./download.node.ts";
import { InputError } from "./errors.ts";
import { DownloadError } from "./request.node.ts";

withServer();

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
