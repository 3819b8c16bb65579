/** Gets official models, and compares what is here with what was recorded. Chooses no words for people. */

import { node } from "../formats/builtins.node.ts";
import { type DownloadOptions, type DownloadStep, download } from "../formats/download.node.ts";
import { InputError } from "../formats/errors.ts";
import { DownloadError } from "../formats/request.node.ts";
import { hashSteps } from "../formats/sha256.node.ts";
import {
  type OfficialFile,
  type OfficialModel,
  officialSources,
  plausibleSize,
} from "./official.ts";
import {
  type FileRecord,
  officialPath,
  type RegisteredModel,
  readRecord,
  writeRecord,
} from "./registry.node.ts";

/** What is happening to which file. `ready` ends each file. */
export type PullStep = { readonly file: string } & (
  | Exclude<DownloadStep, { state: "done" }>
  | ({
      readonly state: "ready";
      readonly path: string;
      /** How it got here: it was, or it came now. */
      readonly by: "present" | "download";
      /** Whether its hash had been recorded before. */
      readonly known: boolean;
    } & FileRecord)
);

export interface PullOptions
  extends Pick<DownloadOptions, "signal" | "pause" | "attempts" | "idle"> {
  /** Fetch nothing: say what is missing. */
  offline?: boolean;
  /** Where mirrors are named. */
  env?: Readonly<Record<string, string | undefined>>;
}

/**
 * Gets the two files of an official model, the tokenizer first. A hash is recorded when a file is first seen whole and
 * every later download of the same name must have it.
 * @throws InputError for bytes that cannot be right, a full disk, or `offline` and a file is missing; DownloadError
 */
export async function* pull(
  { vqvae, var: transformer }: OfficialModel,
  options: PullOptions = {},
): AsyncGenerator<PullStep> {
  for (const file of [vqvae, transformer]) yield* pullFile(file, options);
}

async function* pullFile(wanted: OfficialFile, options: PullOptions): AsyncGenerator<PullStep> {
  const { offline = false, env = process.env, ...settings } = options;
  const { file } = wanted;
  const path = officialPath(wanted);
  const record = readRecord(wanted);
  const found = node.fsSync.statSync(path, { throwIfNoEntry: false });
  if (found && (record === undefined || found.size === record.size)) {
    yield* present(wanted, { record, signal: options.signal });
    return;
  }
  if (offline)
    throw new InputError(
      `${path} is ${found ? "damaged" : "not here"} and may not be fetched; run the same command without --offline, or add your own copy with: underpaint models add FILE`,
      { path },
    );
  const sources = officialSources(wanted, env);
  for (const [i, source] of sources.entries()) {
    try {
      const limits = { between: plausibleSize(wanted), sha256: record?.sha256 };
      for await (const step of download(source, path, { ...settings, ...limits })) {
        if (step.state !== "done") yield { file, ...step };
        else {
          const { size, sha256, url, commit } = step;
          const now = record ?? { size, sha256, url, commit };
          if (!record) await writeRecord(wanted, now);
          const known = record !== undefined;
          yield { file, state: "ready", path, by: "download", known, ...now };
        }
      }
      return;
    } catch (error) {
      if (!(error instanceof DownloadError) || i === sources.length - 1) throw error;
      yield { file, state: "waiting", ms: 0, why: `${error.message}; asking the next mirror` };
    }
  }
}

/** A file that is here. One without a record (the process ended just before it was written) is recorded now. */
async function* present(
  wanted: OfficialFile,
  { record, signal }: { record: FileRecord | undefined; signal: AbortSignal | undefined },
): AsyncGenerator<PullStep> {
  const { file } = wanted;
  const path = officialPath(wanted);
  const end = { file, state: "ready", path, by: "present" } as const;
  if (record) return yield { ...end, known: true, ...record };
  const [least, most] = plausibleSize(wanted);
  for await (const { done, of, sha256 } of hashSteps(path, { signal })) {
    if (of < least || of > most)
      throw new InputError(`${path} has ${of} bytes, which no ${file} has; remove it`, {
        path,
        of,
      });
    yield { file, state: "checking", done, of };
    if (sha256 === undefined) continue;
    await writeRecord(wanted, { size: of, sha256 });
    yield { ...end, known: false, size: of, sha256 };
  }
}

/** What is found of one file. `verdict` ends each file. */
export type VerifyStep = { readonly path: string } & (
  | { readonly state: "checking"; readonly done: number; readonly of: number }
  | {
      readonly state: "verdict";
      readonly verdict: "as recorded" | "changed" | "gone";
      /** What it is, where it is there. */
      readonly sha256?: string;
      readonly recorded: FileRecord;
    }
);

/** Hashes every file of a model and compares it with its record. */
export async function* verify(
  { files }: RegisteredModel,
  { signal }: { signal?: AbortSignal } = {},
): AsyncGenerator<VerifyStep> {
  const places = new Map(Object.values(files).map((file) => [file.path, file]));
  for (const [path, recorded] of places) {
    const end = { path, state: "verdict", recorded } as const;
    if (!node.fsSync.existsSync(path)) {
      yield { ...end, verdict: "gone" };
      continue;
    }
    for await (const { done, of, sha256 } of hashSteps(path, { signal })) {
      yield { path, state: "checking", done, of };
      if (sha256 === undefined) continue;
      yield { ...end, sha256, verdict: sha256 === recorded.sha256 ? "as recorded" : "changed" };
    }
  }
}
