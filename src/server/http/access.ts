/** Who may ask: keys, hosts, origins. Keys are kept as hashes; comparing takes the same time for every key. */

import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { MiddlewareHandler } from "hono";
import { InputError } from "../../formats/errors.ts";
import { HttpError } from "./errors.ts";

/** One line of a file of keys: a name and the SHA-256 of its key, in hex. */
export interface KeyHash {
  readonly name: string;
  readonly hash: string;
}

/** A new key and the line that knows it. 256 bits of chance need no slow hash. */
export function newKey(name: string): { key: string; line: string } {
  if (!/^[\w.-]{1,64}$/.test(name))
    throw new InputError(`a key's name is letters, digits, dots and dashes, got "${name}"`, {
      name,
    });
  const key = `up-${randomBytes(32).toString("base64url")}`;
  return { key, line: `${name} ${sha256(key)}` };
}

/** @throws InputError for a line that is none */
export function parseKeys(text: string): KeyHash[] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => {
      const [name, hash] = line.split(/\s+/);
      if (!name || !/^[0-9a-f]{64}$/.test(hash ?? ""))
        throw new InputError(
          `a line of the keys' file reads "${line.slice(0, 80)}", wanted a name and a SHA-256; make one with: underpaint serve --new-key NAME`,
        );
      return { name, hash: hash! };
    });
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

/** Lets a request through that bears a known key. No keys: everybody may. */
export function requireKey(keys: readonly KeyHash[]): MiddlewareHandler {
  return async (c, next) => {
    if (keys.length === 0 || OPEN.has(c.req.path)) return next();
    const bearer = /^Bearer\s+(\S+)$/i.exec(c.req.header("Authorization") ?? "")?.[1];
    const hash = Buffer.from(sha256(bearer ?? ""), "hex");
    const known = keys.map((key) => timingSafeEqual(Buffer.from(key.hash, "hex"), hash));
    if (bearer === undefined || !known.includes(true))
      throw new HttpError(401, "a known key is wanted: Authorization: Bearer KEY", {
        code: "invalid_api_key",
      });
    return next();
  };
}

const OPEN = new Set(["/health"]);
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i;

export const isLoopback = (host: string): boolean => host === "::1" || LOOPBACK.test(host);

/**
 * A server of this machine answers only to its own names: else a page elsewhere could reach it by a name that its
 * owner points here (DNS rebinding), as browsers hold that for the same origin.
 */
export const onlyOwnNames: MiddlewareHandler = async (c, next) => {
  const host = c.req.header("Host") ?? "";
  if (!LOOPBACK.test(host))
    throw new HttpError(403, `this server answers to localhost, the request names "${host}"`);
  return next();
};

/** Pages of other origins may not ask, but for those that are named. */
export function allowOrigins(origins: readonly string[]): MiddlewareHandler {
  return async (c, next) => {
    const origin = c.req.header("Origin");
    if (!origin || sameOrigin(origin, c.req.header("Host"))) return next();
    if (!origins.includes(origin))
      throw new HttpError(
        403,
        `pages of ${origin} may not ask here; allow them with --cors ${origin}`,
      );
    c.header("Access-Control-Allow-Origin", origin);
    c.header("Vary", "Origin");
    if (c.req.method !== "OPTIONS") return next();
    c.header("Access-Control-Allow-Methods", "GET, POST, DELETE");
    c.header("Access-Control-Allow-Headers", "Authorization, Content-Type, Last-Event-ID");
    return c.body(null, 204);
  };
}

const sameOrigin = (origin: string, host: string | undefined): boolean => {
  try {
    return new URL(origin).host === host;
  } catch {
    return false;
  }
};
