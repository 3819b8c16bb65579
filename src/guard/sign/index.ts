/** Public names of signing. Runs in the browser; models on disk are folder.node.ts. */

export { type Bundle, openBundles, readBundles, signBundle } from "./bundle.ts";
export { canonicalBytes, canonicalJson, type JsonValue, parseCanonical } from "./canonical.ts";
export {
  type Envelope,
  IN_TOTO,
  openEnvelope,
  preAuthEncoding,
  readEnvelope,
  signEnvelope,
} from "./dsse.ts";
export { fromBase64, fromHex, toBase64, toHex } from "./encoding.ts";
export {
  generateKey,
  type KeyType,
  type PrivateKey,
  type PublicKey,
  publicKeyOf,
  readPrivateKey,
  readPublicKey,
  type Signer,
  verify,
} from "./keys.ts";
export {
  compareManifests,
  type Difference,
  GIT_PATHS,
  type ModelManifest,
  manifestStatement,
  type Resource,
  readManifest,
  type Serialization,
} from "./manifest.ts";
export { createSha256, type Hasher, sha256 } from "./sha256.ts";
