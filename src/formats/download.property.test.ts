/** Downloads under faults in any order: one of the server's files, whole, or none. */

import { readFile } from "node:fs/promises";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  around,
  fetchTo,
  made,
  place,
  QUICK,
  server,
  sha,
  withServer,
} from "../../test/downloads.ts";
import type { Fault } from "../../test/faulty-server.ts";
import { UNSYNCED } from "../../test/odd-disks.ts";
import { download } from "./download.node.ts";
import { InputError } from "./errors.ts";
import { DownloadError } from "./request.node.ts";

withServer();

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
