/** The one error for bad outside input. Not for our own bugs: those throw plain errors and are ours to fix. */

/** Something from outside (a file, a flag, a request) cannot be used. Exit code 2, HTTP 400. */
export class InputError extends Error {
  override readonly name = "InputError";

  /** @param message one sentence: what, got, wanted, do. @param data the facts behind it. */
  constructor(
    message: string,
    readonly data: Record<string, unknown> = {},
  ) {
    super(message);
  }
}
