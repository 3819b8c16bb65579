/** Downloads a file so that it is there whole or not at all, going on after any interruption. Chooses no addresses. */

import { InputError } from "./errors.ts";
import { type Fs, Part, type PartSource } from "./part.node.ts";
import { DownloadError, type Reply, requestFile } from "./request.node.ts";
import { hashSteps } from "./sha256.node.ts";

/** What is happening; the last step is `done`. Sizes in bytes. */
export type DownloadStep =
  | { readonly state: "receiving"; readonly received: number; readonly of: number | undefined }
  | { readonly state: "waiting"; readonly ms: number; readonly why: string }
  | { readonly state: "checking"; readonly done: number; readonly of: number }
  | ({ readonly state: "done" } & Downloaded);

/** The file that is now there. */
export interface Downloaded {
  readonly size: number;
  readonly sha256: string;
  readonly url: string;
  /** Version of the hub's repository, where it told. */
  readonly commit?: string;
  /** Bytes that an earlier download had left. */
  readonly resumed: number;
}

export interface DownloadOptions {
  /** 64 hex digits that the file must have. Without them the hub's word is taken, where it gives one. */
  sha256?: string;
  /** Least and most bytes that can be right: a login page is shorter, a trap longer. */
  between?: readonly [number, number];
  /** Failures in a row, each with hardly a byte gained, after which it gives up. */
  attempts?: number;
  /** Milliseconds before the second attempt; doubles with each, up to 32 times. */
  pause?: number;
  /** Longest wait in milliseconds that a server may ask for. */
  patience?: number;
  /** Milliseconds without a byte after which a connection counts as broken. */
  idle?: number;
  /** Bytes beyond the farthest point reached that make an attempt no failure. */
  enough?: number;
  signal?: AbortSignal;
  /** For tests. */
  fs?: Fs;
}

type Settled = Required<Omit<DownloadOptions, "sha256" | "signal" | "fs">> &
  Pick<DownloadOptions, "sha256" | "signal" | "fs">;

/**
 * Fetches `url` into the file `path`. Bytes are received into a part beside it (see part.node.ts), hashed as they lie
 * on disk, and only then given the name: whoever finds the file finds all of it. After an abort or an error the part
 * stays, and the next download goes on from there if the server's file is still the same (ETag with If-Range).
 * @throws InputError where the bytes cannot be right (size, hash) or the disk is full; DownloadError where the network
 *   or the server fails for good; the signal's reason after an abort
 */
export async function* download(
  url: string,
  path: string,
  options: DownloadOptions = {},
): AsyncGenerator<DownloadStep> {
  const settings: Settled = {
    between: [0, Number.MAX_SAFE_INTEGER],
    attempts: 6,
    pause: 1000,
    patience: 120_000,
    idle: 60_000,
    enough: 2 ** 20,
    ...options,
  };
  const job: Job = { url, path, settings, part: await Part.claim(path, settings) };
  try {
    const resumed = job.part.length;
    let commit = yield* receiveAll(job);
    let sha256 = yield* check(job);
    const wanted = (): string | undefined => settings.sha256 ?? job.part.source?.sha256;
    if (wanted() !== undefined && sha256 !== wanted() && resumed > 0) {
      // The fault may lie in the bytes that were here before: once more, all of it.
      yield {
        state: "waiting",
        ms: 0,
        why: "the bytes kept from before do not fit; starting anew",
      };
      await job.part.begin(undefined);
      commit = yield* receiveAll(job);
      sha256 = yield* check(job);
    }
    const size = job.part.length;
    if (wanted() !== undefined && sha256 !== wanted()) {
      const data = { path, url, sha256, wanted: wanted() };
      await job.part.discard();
      throw new InputError(
        `${url}: the bytes are wrong: their sha256 is ${sha256}, wanted ${data.wanted}; nothing was kept, choose another mirror`,
        data,
      );
    }
    await job.part.publish();
    yield { state: "done", size, sha256, url, commit, resumed };
  } catch (error) {
    throw diskError(error, job);
  } finally {
    await job.part.release();
  }
}

interface Job {
  readonly url: string;
  readonly path: string;
  readonly settings: Settled;
  readonly part: Part;
}

/** Attempts until all bytes are there. @returns the hub's commit */
async function* receiveAll(job: Job): AsyncGenerator<DownloadStep, string | undefined> {
  const { part, settings } = job;
  const { attempts, pause, patience, enough, signal } = settings;
  let farthest = part.length;
  for (let failures = 0; ; ) {
    try {
      return yield* receive(job);
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof DownloadError) || !error.retry) throw error;
      if (error.anew) part.source = undefined;
      // Measured from the farthest point: a server that cannot resume must not make us begin for ever.
      if (part.length >= farthest + enough) [farthest, failures] = [part.length, 0];
      failures++;
      if (failures >= attempts) throw gaveUp(error, job);
      const ms = Math.max(error.wait ?? 0, pause * 2 ** Math.min(failures - 1, 5));
      if (ms > Math.max(patience, pause * 32))
        throw new DownloadError(
          `${error.message}; it asks to wait ${Math.ceil(ms / 60_000)} minutes, come back then`,
        );
      yield { state: "waiting", ms, why: error.message };
      await sleep(ms, signal);
    }
  }
}

/** One attempt: a request, then its bytes into the part. */
async function* receive(job: Job): AsyncGenerator<DownloadStep, string | undefined> {
  const { url, part, settings } = job;
  if (part.complete && (part.source?.url === url || settings.sha256 !== undefined))
    return undefined; // ended between the last byte and the name
  const done = new AbortController();
  const { signal = done.signal, idle } = settings;
  const before = part.source;
  // Other bytes under the same hash are not to be feared: it is checked at the end.
  const sameHash = before?.sha256 !== undefined && before.sha256 === settings.sha256;
  const sameFile = before?.url === url && before.etag !== undefined;
  const from = sameFile || sameHash ? part.length : 0;
  const reply = await requestFile(url, {
    from,
    etag: sameFile ? before.etag : undefined,
    idle,
    signal: AbortSignal.any([signal, done.signal]),
  });
  try {
    const source = agree(job, reply);
    if (reply.from === 0) await part.begin(source);
    const room = await part.room();
    const missing = (source.size ?? 0) - part.length;
    if (room !== undefined && missing > room)
      throw new InputError(
        `${job.path}: ${mega(missing)} are still to come and the disk has ${mega(room)} free; free some space and run the same command again`,
        { missing, room },
      );
    for await (const bytes of reply.body) {
      const most = source.size ?? settings.between[1];
      if (part.length + bytes.length > most) return await tooLong(job, most);
      await part.append(bytes);
      yield { state: "receiving", received: part.length, of: source.size };
    }
    const of = source.size ?? part.length;
    if (part.length < of)
      throw new DownloadError(`${url}: it ended after ${part.length} of ${of} bytes`, {
        retry: true,
      });
    if (source.size === undefined) await finish(job, source);
    return reply.commit;
  } finally {
    done.abort(); // closes a connection whose body was not read to its end
  }
}

/** The source of the bytes to come, after checking that they belong to those that are there and can be right. */
function agree({ url, part, settings }: Job, reply: Reply): PartSource {
  const { sha256, between } = settings;
  if (sha256 !== undefined && reply.sha256 !== undefined && sha256 !== reply.sha256)
    throw new InputError(
      `${url} is another file than before: its sha256 is ${reply.sha256}, recorded is ${sha256}; if you trust the new one, forget the record first`,
      { url, sha256: reply.sha256, wanted: sha256 },
    );
  const { size } = reply;
  if (size !== undefined && (size < between[0] || size > between[1]))
    throw new InputError(
      `${url}: ${mega(size)} are announced, wanted ${range(between)}; perhaps a login page or a proxy answers, try another mirror`,
      { url, size, between },
    );
  const source = { url, size, etag: reply.etag, sha256: sha256 ?? reply.sha256 };
  if (reply.from === 0) return source;
  const { size: oldSize, sha256: oldSha256 } = part.source!;
  const same =
    size === oldSize &&
    (source.sha256 ?? oldSha256) === (oldSha256 ?? source.sha256) &&
    (part.source!.url !== url || reply.etag === undefined || reply.etag === part.source!.etag);
  if (!same) {
    throw new DownloadError(`${url}: the file changed meanwhile`, { retry: true, anew: true });
  }
  return source;
}

/** The end of a body without a length was its proper end. */
async function finish({ url, part, settings }: Job, source: PartSource): Promise<void> {
  const { between } = settings;
  part.source = { ...source, size: part.length };
  if (part.length >= between[0]) return;
  const size = part.length;
  await part.begin(undefined);
  throw new InputError(
    `${url}: ${mega(size)} came, wanted ${range(between)}; perhaps a login page or a proxy answers, try another mirror`,
    { url, size, between },
  );
}

async function tooLong({ url, part }: Job, most: number): Promise<never> {
  await part.begin(undefined);
  throw new InputError(
    `${url}: more than the ${mega(most)} came that can be right; nothing was kept, try another mirror`,
    { url, most },
  );
}

async function* check({ part, settings }: Job): AsyncGenerator<DownloadStep, string> {
  let found = "";
  for await (const { done, of, sha256 } of hashSteps(part.file, settings)) {
    found = sha256 ?? found;
    yield { state: "checking", done, of };
  }
  return found;
}

function gaveUp({ message }: DownloadError, { part, settings }: Job): DownloadError {
  const kept =
    part.length > 0 ? `; ${mega(part.length)} are kept, the same command goes on from there` : "";
  return new DownloadError(`${message}; gave up after ${settings.attempts} attempts${kept}`);
}

const FULL: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  EFBIG: "the file is larger than this process may write",
};

/** A full disk as a sentence; the part is kept. */
function diskError(error: unknown, { path, part }: Job): unknown {
  const why = FULL[(error as NodeJS.ErrnoException | undefined)?.code ?? ""];
  if (!why) return error;
  return new InputError(
    `${path}: ${why} after ${mega(part.length)}; free some space and run the same command again, it goes on from there`,
    { path, received: part.length },
  );
}

const mega = (bytes: number): string =>
  bytes < 1e6 ? `${bytes} bytes` : `${(bytes / 1e6).toFixed(0)} MB`;
const range = ([least, most]: readonly [number, number]): string =>
  `${mega(least)} to ${mega(most)}`;

function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal!.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
