/** scan, keygen, sign, verify and ledger as a user calls them: what they print, write, refuse and end with. */

import { cp, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openLedger } from "../guard/ledger/node.ts";
import { readPrivateKey } from "../guard/sign/keys.ts";
import { addKeygen } from "./keygen.ts";
import { addLedger } from "./ledger.ts";
import { addScan } from "./scan.ts";
import { addSign } from "./sign.ts";
import { addVerify } from "./verify.ts";

let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "underpaint-guard-"));
});
afterEach(() => rm(home, { recursive: true }));

/** Runs one command line. @returns lines on stdout and stderr, and how it ended */
async function underpaint(...args: string[]) {
  const [out, err]: [string[], string[]] = [[], []];
  const terminal = {
    say: (line: string) => void err.push(line),
    print: (line: string) => void out.push(line),
    draw: () => {},
    live: false,
    columns: 80,
    dim: (text: string) => text,
  };
  const silent = () => {};
  const program = new Command().exitOverride().configureOutput({ writeErr: silent });
  for (const add of [addKeygen, addSign, addVerify, addLedger, addScan]) add(program, terminal);
  const before = process.exitCode;
  process.exitCode = 0;
  try {
    await program.parseAsync(args, { from: "user" });
    return { out: out.join("\n"), err: err.join("\n"), code: Number(process.exitCode) };
  } finally {
    process.exitCode = before;
  }
}

const path = (...parts: string[]) => join(home, ...parts);
const HASH = "ab".repeat(32);

async function train(folder: string, steps: number, time: number) {
  const key = await readPrivateKey(await readFile(path("run.key"), "utf8"));
  const ledger = await openLedger(folder, { key, origin: "example.com/run", clock: () => time });
  const facts = {
    code: HASH,
    environment: {},
    config: {},
    dataRoot: HASH,
    seed: "1",
    stateRoot: HASH,
  };
  if (ledger.size === 0) await ledger.append({ kind: "run-start", facts });
  for (let i = 0; i < steps; i++) await ledger.append({ kind: "step", facts: { step: i } });
  await ledger.close();
}

test("a model is signed and verified; a file that comes later ends verify with 1", async () => {
  await mkdir(path("model"));
  await writeFile(path("model", "weights"), "1234");
  expect((await underpaint("keygen", path("own"), "--type", "p256")).code).toBe(0);
  expect((await stat(path("own.key"))).mode & 0o077).toBe(0);
  await expect(underpaint("keygen", path("own"))).rejects.toThrow(/not overwritten/);
  expect((await underpaint("sign", path("model"), "--key", path("own.key"))).out).toMatch(
    /1 file, 4 B/,
  );
  const fine = await underpaint("verify", path("model"), "--key", path("own.pub"), "--json");
  expect([fine.code, JSON.parse(fine.out)]).toMatchObject([0, { verified: true, files: 1 }]);
  await writeFile(path("model", "more.py"), "");
  const bad = await underpaint("verify", path("model"), "--key", path("own.pub"));
  expect(bad.code).toBe(1);
  expect(bad.out).toMatch(/added\s+more\.py/);
  await expect(underpaint("sign", path("model"), "--key", path("own.pub"))).rejects.toThrow(
    /public key/,
  );
});

test("a ledger is shown, verified, proved and witnessed; a fork and a rollback are refused", async () => {
  for (const name of ["run", "witness"]) await underpaint("keygen", path(name));
  const run = path("run");
  await train(path("run", "ledger"), 5, 1e12);
  const shown = await underpaint("ledger", "show", run, "--last", "2", "--json");
  expect(shown.out.split("\n").map((line) => JSON.parse(line).index)).toEqual([4, 5]);
  const verify = ["ledger", "verify", run, "--key", path("run.pub"), "--json"];
  expect(JSON.parse((await underpaint(...verify)).out)).toMatchObject({
    verified: true,
    entries: 6,
  });

  const witness = ["ledger", "witness", run, "--key", path("witness.key"), "--name", "w.example"];
  witness.push("--state", path("state.json"));
  await expect(underpaint(...witness)).rejects.toThrow(/give its key once/);
  const first = await underpaint(...witness, "--log-key", path("run.pub"));
  expect(first.out).toMatch(/signed the head over 6 entries/);
  await writeFile(path("witness.vkey"), /w\.example\+\S+/.exec(first.err)![0]);
  const seen = await underpaint(...verify, "--witness", path("witness.vkey"));
  expect(JSON.parse(seen.out).witnessed).toMatchObject([{ name: "w.example", size: 6 }]);

  const proof = path("entry.tlog-proof");
  await underpaint("ledger", "prove", run, "3", "--out", proof);
  const proved = await underpaint(
    "ledger",
    "verify",
    proof,
    "--key",
    path("run.pub"),
    "--witness",
    path("witness.vkey"),
  );
  expect(proved.out).toMatch(/entry 3 is in the ledger.*\n.*witnessed by w\.example/);

  // The owner of the key begins anew under the same name: as long, then longer, then the old one cut back.
  await cp(run, path("kept"), { recursive: true });
  for (const steps of [5, 7]) {
    await rm(run, { recursive: true });
    await train(path("run", "ledger"), steps, 2e12);
    const fork = await underpaint(...witness);
    expect(fork.code).toBe(1);
    expect(fork.out).toMatch(/REFUSED: .*rewritten/);
  }
  await rm(run, { recursive: true });
  await train(path("run", "ledger"), 2, 1e12);
  expect((await underpaint(...witness)).out).toMatch(/REFUSED: the ledger was cut back/);
  await rm(run, { recursive: true });
  await cp(path("kept"), run, { recursive: true });
  expect((await underpaint(...witness)).code).toBe(0);

  const journal = await readFile(path("run", "ledger", "journal"));
  journal[journal.length >> 1]! ^= 1;
  await writeFile(path("run", "ledger", "journal"), journal);
  const bad = await underpaint(...verify);
  expect(bad.code).toBe(1);
  expect(JSON.parse(bad.out).problems[0].what).toMatch(/altered/);
});

describe("scan", () => {
  const EVIL = "cposix\nsystem\n(S'true'\ntR.";
  beforeEach(async () => {
    await mkdir(path("models", "deep", ".hidden"), { recursive: true });
    await writeFile(path("models", "fine.pkl"), "\x80\x02}.", "latin1");
    await writeFile(path("models", "deep", "config.json"), '{"auto_map": {"AutoModel": "m.M"}}');
    await writeFile(path("models", "deep", ".hidden", "evil.bin"), EVIL);
    await writeFile(path("models", "cut.pkl"), "\x80\x02}", "latin1");
    await symlink("/nowhere", path("models", "link.pt"));
  });

  test("--json prints one object a line for every file at any depth", async () => {
    const { out, code } = await underpaint("scan", path("models"), "--json");
    const reports = out.split("\n").map((line) => JSON.parse(line));
    expect(reports.map((r) => [r.file.slice(path("models").length + 1), r.verdict])).toEqual([
      ["cut.pkl", "unreadable"],
      ["deep/.hidden/evil.bin", "malicious"],
      ["deep/config.json", "suspicious"],
      ["fine.pkl", "clean"],
      ["link.pt", "unreadable"],
    ]);
    expect(reports[1].findings[0]).toMatchObject({
      rule: "pickle-name",
      severity: "malicious",
      at: 24,
      effect: expect.stringContaining('posix.system("true")'),
      why: expect.stringContaining("not on the list"),
    });
    expect(code).toBe(3);
  });

  test.each([
    ["fine.pkl", "unreadable", 0],
    ["cut.pkl", "unreadable", 3],
    ["cut.pkl", "suspicious", 0],
    ["deep/config.json", "suspicious", 3],
    ["deep/config.json", "malicious", 0],
    ["deep", "malicious", 3],
    ["deep", "never", 0],
  ])("%s with --fail-on %s ends with %i", async (file, failOn, code) => {
    expect((await underpaint("scan", path("models", file), "--fail-on", failOn)).code).toBe(code);
  });

  test("people see what a file would do, where and why, and what to do next", async () => {
    const { out, err } = await underpaint("scan", path("models"));
    expect(out).toMatch(/malicious .*evil\.bin {2}\(.*\)\n {4}byte 24: calls posix\.system/);
    expect(err).toMatch(/malicious +1\n.*suspicious +1\n.*unreadable +2\n.*clean +1/s);
    expect(err).toContain("next: underpaint scan");
  });

  test("--sarif is one log with every finding and its byte", async () => {
    const { out } = await underpaint("scan", path("models"), "--sarif");
    const { version, runs } = JSON.parse(out);
    expect([version, runs.length]).toEqual(["2.1.0", 1]);
    const uris = runs[0].results.map(
      (r: { locations: { physicalLocation: { artifactLocation: { uri: string } } }[] }) =>
        r.locations[0]!.physicalLocation.artifactLocation.uri,
    );
    expect(uris.filter((uri: string) => uri.endsWith("evil.bin")).length).toBeGreaterThan(0);
    expect(uris.some((uri: string) => uri.endsWith("fine.pkl"))).toBe(false);
  });

  test("--html writes one page; what cannot be asked for is refused in a sentence", async () => {
    await underpaint("scan", path("models"), "--html", path("page.html"));
    expect(await readFile(path("page.html"), "utf8")).toContain("evil.bin");
    await expect(underpaint("scan", path("nothing"))).rejects.toThrow(/no such file or folder/);
    await expect(underpaint("scan", path("models"), "--json", "--sarif")).rejects.toThrow(
      /choose one/,
    );
    await expect(underpaint("scan", path("models"), "--fail-on", "x")).rejects.toThrow(/choices/i);
    await expect(underpaint("scan", path("models"), "--bogus")).rejects.toThrow(/unknown option/);
    await expect(underpaint("scan")).rejects.toThrow(/missing required argument/);
  });
});
