/** Which updates are audited: drawn with a secret that was committed to before, and those that deserve it anyway. */

import { InputError } from "../formats/errors.ts";
import { hmacSha256 } from "../guard/sentinel/secret.ts";
import { joinBytes, utf8 } from "../guard/sign/encoding.ts";
import { sha256 } from "../guard/sign/sha256.ts";
import type { History } from "./history.ts";

/** What the run says at its start about the secret: nobody can find another secret that fits. */
export const auditCommitment = (secret: Uint8Array): Uint8Array =>
  sha256(utf8("audit secret\n"), secret);

const counter = (n: number): Uint8Array => Uint8Array.of(n >>> 24, n >>> 16, n >>> 8, n);

/**
 * Draws updates without repetition: HMAC(secret, root of the head, counter). Who wrote the run could not know which,
 * when the head was witnessed before the secret left the auditor.
 * @param root of a head over all these updates, signed before @returns rising
 */
export function challenge(
  steps: readonly number[],
  { secret, root, count }: { secret: Uint8Array; root: Uint8Array; count: number },
): number[] {
  if (secret.length < 16)
    throw new InputError(`audit: a secret of ${secret.length} bytes can be guessed; use 32`);
  const left = [...steps];
  const drawn: number[] = [];
  for (let i = 0; drawn.length < count && left.length > 0; i++) {
    const word = hmacSha256(secret, joinBytes(utf8("challenge"), root, counter(i)));
    // 53 bits over a few thousand updates: the bias is nothing.
    const view = new DataView(word.buffer, word.byteOffset);
    const share = ((view.getUint32(0) >>> 5) * 2 ** 26 + (view.getUint32(4) >>> 6)) / 2 ** 53;
    drawn.push(...left.splice(Math.floor(share * left.length), 1));
  }
  return drawn.sort((a, b) => a - b);
}

/** Updates after a resume that are looked at. */
const AFTER_RESUME = 3;
/** Updates with the largest gradients that are looked at. */
const LARGEST = 3;

/** Updates worth an audit, whatever the dice say, with the reason. */
export function targets({ steps, resumed, alarms }: History): Map<number, string> {
  const all = [...steps.keys()].sort((a, b) => a - b);
  const norm = (step: number) => Number(steps.get(step)!.gradientNorm);
  const largest = [...all].sort((a, b) => norm(b) - norm(a)).slice(0, LARGEST);
  const reasons: [readonly (number | undefined)[], string][] = [
    [[all[0]], "first update"],
    [[all.at(-1)], "last update"],
    [
      resumed.flatMap((s) => Array.from({ length: AFTER_RESUME }, (_, i) => s + i)),
      "after a resume",
    ],
    [alarms.flatMap((s) => [s, s + 1]), "beside an alarm"],
    [largest, "largest gradient"],
  ];
  const found = new Map<number, string>();
  for (const [chosen, why] of reasons)
    for (const step of chosen)
      if (step !== undefined && steps.has(step) && !found.has(step)) found.set(step, why);
  return found;
}
