/** Witnesses: they sign what continues, and refuse forks, rollbacks and foreign signatures. */

import { describe, expect, test, vi } from "vitest";
import { copy, open, problems, verdict, written } from "../../../test/ledgers.ts";
import { InputError } from "../../formats/errors.ts";
import { utf8 } from "../sign/encoding.ts";
import { generateKey, type PrivateKey } from "../sign/keys.ts";
import { type Disk, memoryDisk } from "./disk.ts";
import { verifyConsistency } from "./merkle.ts";
import { NOTE_TYPE, noteVerifier } from "./note.ts";
import { readLedgerOn } from "./reader.ts";
import {
  addCheckpoint,
  formatRequest,
  formatState,
  parseRequest,
  parseState,
  requestFor,
  type WitnessState,
  watch,
} from "./witness.ts";

/** Thousands of signatures are verified here; a busy machine takes its time. */
vi.setConfig({ testTimeout: 600_000 });

describe("a witness", () => {
  const asked = async (disk: Disk, state: WitnessState, by: PrivateKey) => {
    const reader = await readLedgerOn(disk);
    const request = await requestFor(reader, state.get("example.com/run")?.size ?? 0);
    const sent = parseRequest(utf8(formatRequest(request)));
    return addCheckpoint(state, sent, { signer: by, name: "witness.example", time: 1700000000 });
  };

  test("signs heads that continue the last, and its cosignature verifies", async () => {
    const by = await generateKey();
    const disk = await written(3);
    const { log } = await readLedgerOn(disk);
    expect(await asked(disk, new Map(), by)).toMatchObject({ status: 404 });
    let state = watch(new Map(), log);
    for (const size of [3, 3, 40, 257, 300]) {
      await written(size, disk);
      const answer = await asked(disk, state, by);
      expect(answer.status).toBe(200);
      state = parseState(formatState(answer.state!));
      const reader = await readLedgerOn(disk);
      const note = new TextDecoder().decode((await disk.read("checkpoint"))!);
      await disk.replace("cosigned/witness", utf8(note + answer.body));
      const witness = noteVerifier("witness.example", by.publicKey, NOTE_TYPE.cosignature);
      const found = await verdict(disk, { log, witnesses: [witness] });
      expect(found.problems).toEqual([]);
      expect(found.verdict!.witnessed).toMatchObject([
        { size: reader.head.size, time: 1700000000 },
      ]);
    }
  });

  test("refuses a rewritten history, a rollback, a wrong proof and another's signature", async () => {
    const by = await generateKey();
    const disk = await written(20);
    const { log } = await readLedgerOn(disk);
    const answer = await asked(disk, watch(new Map(), log), by);
    const state = answer.state!;
    // The owner of the key writes another history of the same name: longer, as long, and shorter.
    for (const size of [30, 20, 10]) {
      const fork = memoryDisk();
      await written(size, fork, { clock: () => 5 });
      const refused = await asked(fork, state, by);
      expect(refused.status).toBe(size === 30 ? 422 : size === 20 ? 409 : 400);
      expect(refused.state).toBeUndefined();
      expect(verifyConsistency(state.get(log.name)!, (await readLedgerOn(fork)).head, [])).toBe(
        false,
      );
    }
    await written(25, disk);
    const reader = await readLedgerOn(disk);
    const request = await requestFor(reader, 20);
    const time = 1700000000;
    const as = { signer: by, name: "witness.example", time };
    expect(await addCheckpoint(state, { ...request, old: 3 }, as)).toMatchObject({
      status: 409,
      body: "20\n",
    });
    expect(await addCheckpoint(state, { ...request, proof: [] }, as)).toMatchObject({
      status: 422,
    });
    const stranger = memoryDisk();
    await written(25, stranger, { key: await generateKey() });
    expect(await asked(stranger, state, by)).toMatchObject({ status: 403 });
    expect(await addCheckpoint(state, request, as)).toMatchObject({ status: 200 });
  });

  test("a ledger cut back behind a witnessed head is found", async () => {
    const by = await generateKey();
    const disk = await written(20);
    const old = copy(disk);
    await written(30, disk);
    const { log } = await readLedgerOn(disk);
    const answer = await asked(disk, watch(new Map(), log), by);
    const note = new TextDecoder().decode((await disk.read("checkpoint"))!);
    await old.replace("cosigned/witness", utf8(note + answer.body));
    expect((await problems(old)).join()).toMatch(/was cut/);
    await expect(open(old)).rejects.toThrow(/was cut/);
    const fork = memoryDisk();
    await written(40, fork, { clock: () => 5 });
    await fork.replace("cosigned/witness", utf8(note + answer.body));
    expect((await problems(fork)).join()).toMatch(/history was rewritten/);
  });

  test("a damaged state is refused, not begun anew", () => {
    for (const text of ["", "[]", '{"a":1}', '{"a":{"log":"x","root":"","size":0}}'])
      expect(() => parseState(utf8(text))).toThrow(InputError);
  });
});
