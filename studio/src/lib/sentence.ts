/** From whatever was thrown to the sentence that is shown. */

import { ServerError } from "../../../src/client.ts";
import { shell } from "../i18n/shell.ts";
import { duration, say } from "../i18n/words.svelte.ts";

/** undefined where somebody cancelled: that is no error. */
export function sentence(error: unknown): string | undefined {
  const t = say(shell);
  if (error instanceof DOMException && error.name === "AbortError") return undefined;
  if (error instanceof ServerError && error.status === 429)
    return t.busy(duration(error.retryAfter ?? 5));
  // What fetch throws where nobody answers.
  if (error instanceof TypeError) return t.offline;
  return error instanceof Error ? capital(error.message) : t.unknown;
}

/** But for names of files. */
const capital = (text: string): string =>
  `${/^\S*\.\S/.test(text) ? text.charAt(0) : text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?。]$/.test(text) ? "" : "."}`;
