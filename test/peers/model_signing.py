"""A second reading of the OpenSSF model-signing form, for tests: `verify MODEL KEY SIG` and `sign MODEL KEY SIG`.

Written from the specifications alone (DSSE 1.0.2, in-toto Statement v1, Sigstore bundle v0.3, the model_signing v1.0
predicate) with hashlib and the package cryptography; shares nothing with ../../src. It is no replacement for model-signing.
"""

import base64
import hashlib
import json
import os
import sys

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

PAYLOAD_TYPE = "application/vnd.in-toto+json"
HASHES = {"secp256r1": hashes.SHA256, "secp384r1": hashes.SHA384, "secp521r1": hashes.SHA512}


def pae(kind, payload):
    """DSSE: what is signed."""
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)


def files(model, ignored):
    """Paths relative to the model in Python's order of paths, with the SHA-256 of each file."""
    found = []
    for folder, _, names in os.walk(model):
        for name in names:
            path = os.path.relpath(os.path.join(folder, name), model).replace(os.sep, "/")
            if not any(path == one or path.startswith(one + "/") for one in ignored):
                found.append(path)
    found.sort(key=lambda path: path.split("/"))
    return [(path, hashlib.sha256(open(os.path.join(model, path), "rb").read()).hexdigest()) for path in found]


def root(digests):
    return hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in digests)).hexdigest()


def hint_of(public):
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def verify(model, key, signature):
    public = serialization.load_pem_public_key(open(key, "rb").read())
    bundle = json.load(open(signature))
    assert bundle["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json", "media type"
    assert bundle["verificationMaterial"]["publicKey"]["hint"] == hint_of(public), "hint"
    envelope = bundle["dsseEnvelope"]
    assert envelope["payloadType"] == PAYLOAD_TYPE, "payload type"
    payload = base64.b64decode(envelope["payload"], validate=True)
    [one] = envelope["signatures"]
    signed = base64.b64decode(one["sig"], validate=True)
    if isinstance(public, ed25519.Ed25519PublicKey):
        public.verify(signed, pae(PAYLOAD_TYPE, payload))
    else:
        public.verify(signed, pae(PAYLOAD_TYPE, payload), ec.ECDSA(HASHES[public.curve.name]()))
    statement = json.loads(payload)
    assert statement["_type"] == "https://in-toto.io/Statement/v1", "statement"
    assert statement["predicateType"] == "https://model_signing/signature/v1.0", "predicate"
    listed = [(r["name"], r["digest"]) for r in statement["predicate"]["resources"]]
    assert all(r["algorithm"] == "sha256" for r in statement["predicate"]["resources"]), "algorithm"
    settings = statement["predicate"]["serialization"]
    assert settings["method"] == "files" and settings["hash_type"] == "sha256", "serialization"
    assert settings["allow_symlinks"] is False, "links"
    [subject] = statement["subject"]
    assert subject["digest"] == {"sha256": root(digest for _, digest in listed)}, "root"
    assert listed == files(model, settings.get("ignore_paths") or []), "files"


def sign(model, key, signature):
    private = serialization.load_pem_private_key(open(key, "rb").read(), None)
    ignored = [os.path.relpath(signature, model)]
    listed = files(model, ignored)
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": os.path.basename(model), "digest": {"sha256": root(d for _, d in listed)}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": ignored},
            "resources": [{"name": n, "algorithm": "sha256", "digest": d} for n, d in listed],
        },
    }
    payload = json.dumps(statement).encode()
    message = pae(PAYLOAD_TYPE, payload)
    if isinstance(private, ed25519.Ed25519PrivateKey):
        made = private.sign(message)
    else:
        made = private.sign(message, ec.ECDSA(HASHES[private.curve.name]()))
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"sig": base64.b64encode(made).decode(), "keyid": ""}],
    }
    material = {"publicKey": {"hint": hint_of(private.public_key())}, "tlogEntries": []}
    bundle = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": material,
        "dsseEnvelope": envelope,
    }
    json.dump(bundle, open(signature, "w"))


if __name__ == "__main__":
    {"verify": verify, "sign": sign}[sys.argv[1]](*sys.argv[2:])
