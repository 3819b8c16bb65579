/** Golden vectors of what signing is made of: SHA-256, RFC 8785, DSSE, RFC 8032, key files. */

import { execFileSync } from "node:child_process";
import { createHash, generateKeyPairSync, sign as nodeSign } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InputError } from "../../formats/errors.ts";
import { parseJson } from "../../formats/json.ts";
import { canonicalBytes, canonicalJson, type JsonValue, parseCanonical } from "./canonical.ts";
import { ecdsaFromDer, ecdsaToDer } from "./der.ts";
import { openEnvelope, preAuthEncoding, readEnvelope, signEnvelope } from "./dsse.ts";
import { fromBase64, fromHex, toBase64, toHex, utf8 } from "./encoding.ts";
import {
  generateKey,
  type KeyType,
  publicKeyOf,
  readPrivateKey,
  readPublicKey,
  verify,
} from "./keys.ts";
import { createSha256, sha256 } from "./sha256.ts";

const TYPES: readonly KeyType[] = ["ed25519", "p256", "p384", "p521"];

describe("SHA-256", () => {
  test("gives the digests of FIPS 180-4's examples", () => {
    const hex = (text: string) => toHex(sha256(utf8(text)));
    expect(hex("abc")).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect(hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")).toBe(
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
    );
  });

  test("agrees with the system's for every length and every way to cut it", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 6 }), (parts) => {
        const ours = createSha256();
        const theirs = createHash("sha256");
        for (const part of parts) {
          ours.update(part);
          theirs.update(part);
        }
        expect(toHex(ours.digest())).toBe(theirs.digest("hex"));
      }),
    );
  });
});

describe("base64", () => {
  test("agrees with the system's", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        expect(toBase64(bytes)).toBe(Buffer.from(bytes).toString("base64"));
        expect([...fromBase64(toBase64(bytes))]).toEqual([...bytes]);
      }),
    );
  });

  test.each(["A", "AA", "AAA", "AA=A", "A===", "AB==", "AAB=", "AA ==", "AA-_", "====", "AAA\n"])(
    "%j is refused: one byte string has one text",
    (text) => expect(() => fromBase64(text)).toThrow(InputError),
  );
});

describe("canonical JSON (RFC 8785)", () => {
  test("writes the example of section 3.2.2 as section 3.2.4 shows it", () => {
    const input =
      '{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],' +
      '"string": "\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/","literals": [null, true, false]}';
    const wanted =
      "7b226c69746572616c73223a5b6e756c6c2c747275652c66616c73655d2c226e756d62657273223a5b3333333333333333332e333333333333332c" +
      "31652b33302c342e352c302e3030322c31652d32375d2c22737472696e67223a22e282ac245c75303030665c6e4127425c225c5c5c5c5c222f227d";
    const parsed = parseJson(input, "example") as JsonValue;
    expect(canonicalJson(parsed)).toBe(
      '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    );
    expect(toHex(canonicalBytes(parsed))).toBe(wanted);
  });

  test("sorts by UTF-16 code units as in section 3.2.3", () => {
    const parsed = parseJson(
      '{"\\u20ac":"Euro Sign","\\r":"Carriage Return","\\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\\ud83d\\ude00":"Emoji: Grinning Face","\\u0080":"Control","\\u00f6":"Latin Small Letter O With Diaeresis"}',
      "example",
    ) as JsonValue;
    expect(Object.values(JSON.parse(canonicalJson(parsed)) as object).slice(1)).toEqual([
      "Carriage Return",
      "Control",
      "Latin Small Letter O With Diaeresis",
      "Euro Sign",
      "Emoji: Grinning Face",
      "Hebrew Letter Dalet With Dagesh",
    ]);
    expect(canonicalJson(parsed).startsWith('{"\\r":"Carriage Return","1":"One",')).toBe(true);
  });

  // Appendix B: bits of the double, and its text.
  test.each([
    ["0000000000000000", "0"],
    ["8000000000000000", "0"],
    ["0000000000000001", "5e-324"],
    ["8000000000000001", "-5e-324"],
    ["7fefffffffffffff", "1.7976931348623157e+308"],
    ["ffefffffffffffff", "-1.7976931348623157e+308"],
    ["4340000000000000", "9007199254740992"],
    ["c340000000000000", "-9007199254740992"],
    ["4430000000000000", "295147905179352830000"],
    ["44b52d02c7e14af5", "9.999999999999997e+22"],
    ["44b52d02c7e14af6", "1e+23"],
    ["44b52d02c7e14af7", "1.0000000000000001e+23"],
    ["444b1ae4d6e2ef4e", "999999999999999700000"],
    ["444b1ae4d6e2ef4f", "999999999999999900000"],
    ["444b1ae4d6e2ef50", "1e+21"],
    ["3eb0c6f7a0b5ed8c", "9.999999999999997e-7"],
    ["3eb0c6f7a0b5ed8d", "0.000001"],
    ["41b3de4355555553", "333333333.3333332"],
    ["41b3de4355555554", "333333333.33333325"],
    ["41b3de4355555555", "333333333.3333333"],
    ["41b3de4355555556", "333333333.3333334"],
    ["41b3de4355555557", "333333333.33333343"],
    ["becbf647612f3696", "-0.0000033333333333333333"],
    ["43143ff3c1cb0959", "1424953923781206.2"],
  ])("the double %s is written %s", (bits, text) => {
    const value = new DataView(Uint8Array.from(fromHex(bits, "bits")).buffer).getFloat64(0);
    expect(canonicalJson(value)).toBe(text);
  });

  test("refuses what JSON cannot say", () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, "\ud800", { a: ["\udc00x"] }])
      expect(() => canonicalJson(value)).toThrow(InputError);
  });

  test("bytes in another form are refused, whatever they mean", () => {
    for (const text of ['{"b":1,"a":2}', '{ "a":1}', '{"a":1.0}', '"\\u0041"', "1e1", "-0"])
      expect(() => parseCanonical(utf8(text), "test")).toThrow(/canonical/);
    expect(parseCanonical(utf8('{"a":2,"b":1}'), "test")).toEqual(
      new Map([
        ["a", 2],
        ["b", 1],
      ]),
    );
  });

  test("what is written is read back, and written the same", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const wellFormed = !/\p{Surrogate}/u.test(JSON.stringify(value).replace(/\\u/g, ""));
        if (!wellFormed || JSON.stringify(value).includes("\\ud")) return;
        const bytes = canonicalBytes(value as JsonValue);
        const parsed = parseJson(new TextDecoder().decode(bytes), "test") as JsonValue;
        expect(toHex(canonicalBytes(parsed))).toBe(toHex(bytes));
      }),
    );
  });
});

describe("keys", () => {
  test("Ed25519 gives the signatures of RFC 8032, 7.1", async () => {
    const pkcs8 = (seed: string) =>
      `-----BEGIN PRIVATE KEY-----\n${toBase64(fromHex(`302e020100300506032b657004220420${seed}`, "key"))}\n-----END PRIVATE KEY-----\n`;
    const vectors = [
      [
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
      ],
      [
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
      ],
    ] as const;
    for (const [seed, key, message, signature] of vectors) {
      const own = await readPrivateKey(pkcs8(seed));
      expect(toHex(own.publicKey.raw)).toBe(key);
      const bytes = fromHex(message, "message");
      expect(toHex(await own.sign(bytes))).toBe(signature);
      expect(await verify(own.publicKey, bytes, fromHex(signature, "signature"))).toBe(true);
    }
  });

  test.each(TYPES)("a %s key survives being written and read, and signs", async (type) => {
    const key = await generateKey(type);
    const again = await readPrivateKey(await key.exportPem());
    const known = readPublicKey(key.publicKey.pem);
    expect(known).toEqual(key.publicKey);
    expect(again.publicKey).toEqual(key.publicKey);
    const message = utf8("a message");
    const signature = await again.sign(message);
    expect(await verify(known, message, signature)).toBe(true);
    expect(await verify(known, utf8("a massage"), signature)).toBe(false);
    for (const at of [0, 5, signature.length - 1]) {
      const bent = Uint8Array.from(signature);
      bent[at]! ^= 1;
      expect(await verify(known, message, bent)).toBe(false);
    }
    expect(await verify((await generateKey(type)).publicKey, message, signature)).toBe(false);
  });

  test.each([
    ["p256", "prime256v1", "sha256"],
    ["p384", "secp384r1", "sha384"],
    ["p521", "secp521r1", "sha512"],
  ] as const)("%s keys and signatures are those of OpenSSL", async (type, namedCurve, hash) => {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve });
    const sec1 = privateKey.export({ format: "pem", type: "sec1" }) as string;
    const spki = publicKey.export({ format: "pem", type: "spki" }) as string;
    const own = await readPrivateKey(sec1);
    expect(own.publicKey.type).toBe(type);
    expect(own.publicKey.pem).toBe(spki);
    for (let i = 0; i < 20; i++) {
      const theirs = nodeSign(hash, utf8(`m${i}`), privateKey);
      expect(await verify(readPublicKey(spki), utf8(`m${i}`), new Uint8Array(theirs))).toBe(true);
    }
  });

  test("bad key files are refused in one sentence", async () => {
    const key = await generateKey();
    const secret = await key.exportPem();
    await expect(readPrivateKey("nothing")).rejects.toThrow(/underpaint keygen/);
    await expect(readPrivateKey(key.publicKey.pem)).rejects.toThrow(/public key/);
    expect(() => readPublicKey(secret)).toThrow(/private key/);
    expect(() => publicKeyOf("ed25519", new Uint8Array(31))).toThrow(InputError);
    const rsa = generateKeyPairSync("rsa", { modulusLength: 1024 });
    const text = rsa.privateKey.export({ format: "pem", type: "pkcs8" }) as string;
    await expect(readPrivateKey(text)).rejects.toThrow(/not known/);
    await expect(
      readPrivateKey(
        rsa.privateKey.export({
          format: "pem",
          type: "pkcs8",
          cipher: "aes-128-cbc",
          passphrase: "x",
        }) as string,
      ),
    ).rejects.toThrow(/encrypted/);
  });

  test("DER of ECDSA is strict both ways", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 64, maxLength: 64 }), (raw) => {
        expect([...ecdsaFromDer(ecdsaToDer(raw), 32)]).toEqual([...raw]);
      }),
    );
    const padded = fromHex("3007020200010201" + "01", "der");
    expect(() => ecdsaFromDer(padded, 32)).toThrow(InputError);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        try {
          ecdsaFromDer(bytes, 32);
        } catch (error) {
          expect(error).toBeInstanceOf(InputError);
        }
      }),
    );
  });
});

describe("DSSE", () => {
  const type = "http://example.com/HelloWorld";

  test("the protocol's test vector: encoding, and its ECDSA signature", async () => {
    const payload = utf8("hello world");
    const signed = preAuthEncoding(type, payload);
    expect(new TextDecoder().decode(signed)).toBe(
      "DSSEv1 29 http://example.com/HelloWorld 11 hello world",
    );
    const coordinate = (n: bigint) => fromHex(n.toString(16).padStart(64, "0"), "coordinate");
    const key = publicKeyOf(
      "p256",
      Uint8Array.of(
        4,
        ...coordinate(
          46950820868899156662930047687818585632848591499744589407958293238635476079160n,
        ),
        ...coordinate(
          5640078356564379163099075877009565129882514886557779369047442380624545832820n,
        ),
      ),
    );
    // The vector has r and s side by side.
    const raw = fromBase64(
      "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA==",
    );
    expect(await verify(key, signed, ecdsaToDer(raw))).toBe(true);
    const json = {
      payload: toBase64(payload),
      payloadType: type,
      signatures: [{ sig: toBase64(ecdsaToDer(raw)) }],
    };
    const envelope = readEnvelope(parseJson(JSON.stringify(json), "dsse"), "dsse");
    const opened = await openEnvelope(envelope, key, { what: "dsse", payloadType: type });
    expect(new TextDecoder().decode(opened)).toBe("hello world");
    await expect(openEnvelope(envelope, key, { what: "dsse" })).rejects.toThrow(/in-toto/);
  });

  test("length counts bytes, not characters", () => {
    expect(new TextDecoder().decode(preAuthEncoding("é", utf8("€")))).toBe("DSSEv1 2 é 3 €");
  });

  test("an envelope opens for its key and for no other", async () => {
    const key = await generateKey();
    const json = await signEnvelope(key, utf8("{}"));
    const envelope = readEnvelope(parseJson(JSON.stringify(json), "dsse"), "dsse");
    expect(toHex(await openEnvelope(envelope, key.publicKey, { what: "dsse" }))).toBe("7b7d");
    const other = await generateKey();
    await expect(openEnvelope(envelope, other.publicKey, { what: "dsse" })).rejects.toThrow(
      /no signature/,
    );
  });
});

test("openssl, where it is installed, reads our keys", async (context) => {
  try {
    execFileSync("openssl", ["version"], { stdio: "ignore" });
  } catch {
    context.skip("openssl is not installed");
  }
  for (const type of TYPES) {
    const key = await generateKey(type);
    const pem = execFileSync("openssl", ["pkey", "-pubout"], { input: await key.exportPem() });
    expect(pem.toString()).toBe(key.publicKey.pem);
  }
});
