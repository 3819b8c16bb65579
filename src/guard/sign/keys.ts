/** Key pairs: made, read from PEM, written to PEM, used to sign and to verify. Web Crypto does the arithmetic. */

import { InputError } from "../../formats/errors.ts";
import { derReader, ecdsaFromDer, ecdsaToDer, TAG, writeDer } from "./der.ts";
import { fromBase64, fromHex, joinBytes, sameBytes, toBase64, toHex, utf8 } from "./encoding.ts";
import { sha256 } from "./sha256.ts";

/** Ed25519 signs ledgers; the NIST curves are what model-signing 1.x knows. */
export type KeyType = "ed25519" | "p256" | "p384" | "p521";

/** What anyone may know of a key. */
export interface PublicKey {
  readonly type: KeyType;
  /** 32 bytes of Ed25519 (RFC 8032), or an uncompressed point 04 x y. */
  readonly raw: Uint8Array;
  /** SubjectPublicKeyInfo as PEM, in the one form that OpenSSL and pyca/cryptography write. */
  readonly pem: string;
  /** SHA-256 of the PEM in hexadecimal: how Sigstore bundles of model-signing 1.1 name a key. */
  readonly hint: string;
}

/** Something that signs: a key in memory, or a process elsewhere that holds one. */
export interface Signer {
  readonly publicKey: PublicKey;
  /** 64 bytes for Ed25519, DER for ECDSA. */
  sign(message: Uint8Array): Promise<Uint8Array>;
}

/** A private key in memory. */
export interface PrivateKey extends Signer {
  /** PKCS #8 as PEM. Secret. */
  exportPem(): Promise<string>;
}

interface TypeRule {
  readonly algorithm: EcKeyImportParams | Algorithm;
  readonly use: EcdsaParams | Algorithm;
  /** Bytes of SubjectPublicKeyInfo before the key itself (RFC 8410; RFC 5480). */
  readonly spki: string;
  /** AlgorithmIdentifier inside SubjectPublicKeyInfo and PKCS #8. */
  readonly identifier: string;
  /** Bytes of a public key. */
  readonly size: number;
}

const curve = (
  name: string,
  { hash, spki, identifier, size }: { hash: string } & Omit<TypeRule, "algorithm" | "use">,
): TypeRule => ({
  algorithm: { name: "ECDSA", namedCurve: name },
  use: { name: "ECDSA", hash },
  spki,
  identifier,
  size,
});

const TYPES: Readonly<Record<KeyType, TypeRule>> = {
  ed25519: {
    algorithm: { name: "Ed25519" },
    use: { name: "Ed25519" },
    spki: "302a300506032b6570032100",
    identifier: "300506032b6570",
    size: 32,
  },
  p256: curve("P-256", {
    hash: "SHA-256",
    spki: "3059301306072a8648ce3d020106082a8648ce3d030107034200",
    identifier: "301306072a8648ce3d020106082a8648ce3d030107",
    size: 65,
  }),
  p384: curve("P-384", {
    hash: "SHA-384",
    spki: "3076301006072a8648ce3d020106052b81040022036200",
    identifier: "301006072a8648ce3d020106052b81040022",
    size: 97,
  }),
  p521: curve("P-521", {
    hash: "SHA-512",
    spki: "30819b301006072a8648ce3d020106052b8104002303818600",
    identifier: "301006072a8648ce3d020106052b81040023",
    size: 133,
  }),
};

const TYPE_NAMES = Object.keys(TYPES) as KeyType[];

// TypeScript tells shared buffers apart, which no caller of ours has.
const plain = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => bytes as Uint8Array<ArrayBuffer>;

/** Text of a PEM block, 64 characters a line. */
const pemOf = (label: string, der: Uint8Array): string =>
  `-----BEGIN ${label}-----\n${toBase64(der)
    .match(/.{1,64}/g)!
    .join("\n")}\n-----END ${label}-----\n`;

/** A public key from its bytes. @throws InputError when they are not of that type's length */
export function publicKeyOf(type: KeyType, raw: Uint8Array): PublicKey {
  const { spki, size } = TYPES[type];
  if (raw.length !== size || (type !== "ed25519" && raw[0] !== 4))
    throw new InputError(
      `public key: ${raw.length} bytes are no ${type} key; wanted ${size} bytes${type === "ed25519" ? "" : " starting with 4"}`,
    );
  const pem = pemOf("PUBLIC KEY", joinBytes(fromHex(spki, "prefix"), raw));
  return { type, raw: raw.slice(), pem, hint: toHex(sha256(utf8(pem))) };
}

interface PemBlock {
  readonly label: string;
  readonly der: Uint8Array;
}

function readPem(text: string, what: string): PemBlock {
  const blocks = [...text.matchAll(/-----BEGIN ([A-Z0-9 ]+)-----([^-]*)-----END \1-----/g)];
  // `openssl ecparam -genkey` puts the curve in a block of its own before the key.
  const found = blocks.filter((b) => b[1] !== "EC PARAMETERS");
  if (found.length !== 1)
    throw new InputError(
      `${what}: it has ${found.length} PEM blocks, wanted one key; make one with: underpaint keygen`,
    );
  const [, label, body] = found[0]!;
  if (body!.includes("ENCRYPTED") || label!.includes("ENCRYPTED"))
    throw new InputError(
      `${what}: the key is encrypted; decrypt it first: openssl pkey -in KEY -out PLAIN`,
    );
  return { label: label!, der: fromBase64(body!.replace(/\s+/g, ""), what) };
}

/**
 * Reads a public key from PEM ("BEGIN PUBLIC KEY", RFC 7468). @param what opens the error sentence
 * @throws InputError for other types of keys
 */
export function readPublicKey(text: string, what = "public key"): PublicKey {
  const { label, der } = readPem(text, what);
  if (label.includes("PRIVATE"))
    throw new InputError(`${what}: this is a private key; give the public one beside it`);
  for (const type of TYPE_NAMES) {
    const { spki, size } = TYPES[type];
    const prefix = fromHex(spki, "prefix");
    if (
      der.length === prefix.length + size &&
      sameBytes(der.subarray(0, prefix.length), prefix) &&
      (type === "ed25519" || der[prefix.length] === 4)
    )
      return publicKeyOf(type, der.subarray(prefix.length));
  }
  throw new InputError(
    `${what}: this kind of key is not known; wanted Ed25519, P-256, P-384 or P-521`,
  );
}

/** PKCS #8 and the type of a private key, whichever of the two usual forms it is in. */
function privateDer({ label, der }: PemBlock, what: string): { type: KeyType; pkcs8: Uint8Array } {
  const version = Uint8Array.of(0);
  const reader = derReader(derReader(der, what).next(TAG.sequence), what);
  reader.next(TAG.integer);
  const isSec1 = label === "EC PRIVATE KEY";
  if (!isSec1 && label !== "PRIVATE KEY")
    throw new InputError(`${what}: a PEM block ${label} is no private key`);
  if (isSec1) reader.next(TAG.octets); // RFC 5915: the number, then the curve
  const content = reader.next(isSec1 ? TAG.curve : TAG.sequence);
  const type = TYPE_NAMES.find((t) => {
    const identifier = fromHex(TYPES[t].identifier, "identifier");
    const wanted = isSec1 ? identifier.subarray(11) : identifier.subarray(2);
    return t === "ed25519" && isSec1 ? false : sameBytes(content, wanted);
  });
  if (!type)
    throw new InputError(
      `${what}: this kind of key is not known; wanted Ed25519, P-256, P-384 or P-521`,
    );
  const identifier = fromHex(TYPES[type].identifier, "identifier");
  const pkcs8 = isSec1
    ? writeDer(TAG.sequence, writeDer(TAG.integer, version), identifier, writeDer(TAG.octets, der))
    : der;
  return { type, pkcs8 };
}

async function privateKey(type: KeyType, key: CryptoKey): Promise<PrivateKey> {
  const { subtle } = globalThis.crypto;
  const jwk = await subtle.exportKey("jwk", key);
  const part = (text: string | undefined) => {
    const standard = (text ?? "").replaceAll("-", "+").replaceAll("_", "/");
    return fromBase64(standard.padEnd(Math.ceil(standard.length / 4) * 4, "="), "key");
  };
  const raw =
    type === "ed25519" ? part(jwk.x) : joinBytes(Uint8Array.of(4), part(jwk.x), part(jwk.y));
  return {
    publicKey: publicKeyOf(type, raw),
    async sign(message) {
      const signature = new Uint8Array(await subtle.sign(TYPES[type].use, key, plain(message)));
      return type === "ed25519" ? signature : ecdsaToDer(signature);
    },
    exportPem: async () =>
      pemOf("PRIVATE KEY", new Uint8Array(await subtle.exportKey("pkcs8", key))),
  };
}

/** Reads a private key from PEM: PKCS #8, or SEC 1 ("EC PRIVATE KEY"). @throws InputError */
export async function readPrivateKey(text: string, what = "private key"): Promise<PrivateKey> {
  const block = readPem(text, what);
  if (block.label === "PUBLIC KEY")
    throw new InputError(`${what}: this is a public key; give the private one`);
  const { type, pkcs8 } = privateDer(block, what);
  let key: CryptoKey;
  try {
    key = await globalThis.crypto.subtle.importKey(
      "pkcs8",
      plain(pkcs8),
      TYPES[type].algorithm,
      true,
      ["sign"],
    );
  } catch {
    throw new InputError(`${what}: the ${type} key inside is damaged`);
  }
  return privateKey(type, key);
}

/** Makes a new key. Its randomness is the system's own, never a seed: a key that can be made again is no key. */
export async function generateKey(type: KeyType = "ed25519"): Promise<PrivateKey> {
  const pair = await globalThis.crypto.subtle.generateKey(TYPES[type].algorithm, true, [
    "sign",
    "verify",
  ]);
  return privateKey(type, (pair as CryptoKeyPair).privateKey);
}

const imported = new WeakMap<PublicKey, Promise<CryptoKey>>();

/**
 * Whether a signature is this key's over this message. @param signature 64 bytes for Ed25519, DER for ECDSA
 * @returns false too for signatures of the wrong form
 */
export async function verify(
  key: PublicKey,
  message: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  const { subtle } = globalThis.crypto;
  const rule = TYPES[key.type];
  let held = imported.get(key);
  if (!held) {
    held = subtle.importKey("raw", plain(key.raw), rule.algorithm, false, ["verify"]);
    imported.set(key, held);
  }
  try {
    const raw = key.type === "ed25519" ? signature : ecdsaFromDer(signature, (rule.size - 1) / 2);
    return await subtle.verify(rule.use, await held, plain(raw), plain(message));
  } catch {
    return false; // a point that is not on the curve, or a signature that is no DER
  }
}
