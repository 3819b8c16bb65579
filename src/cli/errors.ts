/** From whatever was thrown to a sentence and an exit code. Prints nothing. */

import { CommanderError } from "commander";
import { InputError } from "../formats/errors.ts";
import { DownloadError } from "../formats/request.node.ts";

/** 0 done, 1 the network failed or our bug, 2 something from outside cannot be used, 130 stopped by Ctrl-C. */
export interface Failure {
  readonly code: number;
  /** What is printed; nothing where everything has been said. */
  readonly text: string;
}

/** The system's refusals that the user can do something about. */
const SYSTEM: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full; free some space and run the same command again",
  EDQUOT: "the disk quota is used up; free some space and run the same command again",
  EFBIG: "the file would be larger than this process may write; raise the limit (ulimit -f)",
  EACCES: "permission denied; choose another place or change its permissions",
  EPERM: "not permitted; choose another place",
  EROFS: "the file system is read-only; choose another place",
  ENOENT: "there is no such file or folder; check the path",
  ENOTDIR: "a part of the path is a file, not a folder; check the path",
  EISDIR: "it is a folder; name a file",
  EMFILE: "too many files are open; raise the limit (ulimit -n)",
};

/** How a command ends that threw `error`. */
export function failure(error: unknown): Failure {
  if (error instanceof CommanderError) return { code: error.exitCode === 0 ? 0 : 2, text: "" }; // commander has printed it
  if (error instanceof InputError) return { code: 2, text: `underpaint: ${error.message}` };
  if (error instanceof DownloadError)
    return { code: 1, text: `underpaint: ${error.message}${proxyHint()}` };
  if (isAbort(error)) return { code: 130, text: "underpaint: stopped" };
  const { code, path, syscall } = (error ?? {}) as NodeJS.ErrnoException;
  if (code && syscall && SYSTEM[code])
    return { code: 2, text: `underpaint: ${path ?? syscall}: ${SYSTEM[code]}` };
  const stack = error instanceof Error ? error.stack : String(error);
  return { code: 1, text: `underpaint: this is a bug, please report it\n${stack}` };
}

/** Node's fetch reads proxy variables only when told to, and not before version 22.21 and 24. */
function proxyHint({ env } = process): string {
  const name = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"].find((key) => env[key]);
  if (!name || env.NODE_USE_ENV_PROXY) return "";
  return ` (${name} is set, but Node.js does not use it here: set NODE_USE_ENV_PROXY=1 as well, with Node.js 22.21, 24 or newer)`;
}

const isAbort = (error: unknown): boolean =>
  error instanceof Error && (error.name === "AbortError" || error.name === "Interrupted");

/** Thrown where a long work was stopped by a signal and there is nothing to save. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
}

/**
 * Runs `work` with a signal that Ctrl-C aborts: the work ends at its next safe place. A second Ctrl-C ends the
 * process at once.
 */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const stop = () => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort(new Interrupted("stopped"));
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  try {
    return await work(controller.signal);
  } finally {
    process.off("SIGINT", stop);
    process.off("SIGTERM", stop);
  }
}
