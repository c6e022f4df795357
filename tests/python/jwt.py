"""JSON Web Tokens and their key set, by hand over pyca/cryptography, so that wrong ones can be made too.

    jwt.py keys FOLDER      makes rsa.pem, ec.pem and stranger.pem there, and jwks.json of the first two
    jwt.py sign FOLDER      signs the tokens described on standard input, a JSON list of {"alg", "key", "kid", "claims"}; prints a list

`alg` HS256 takes the *public* key's PEM as its secret; `none` signs nothing.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import sys

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value, length):
    return encode(value.to_bytes(length, "big"))


def make_keys(folder):
    keys = {
        "rsa": rsa.generate_private_key(65537, 2048),
        "ec": ec.generate_private_key(ec.SECP256R1()),
        "stranger": rsa.generate_private_key(65537, 2048),
    }
    for name, key in keys.items():
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (folder / f"{name}.pem").write_bytes(pem)
    of_rsa = keys["rsa"].public_key().public_numbers()
    point = keys["ec"].public_key().public_numbers()
    listed = [
        {"kty": "RSA", "kid": "rsa", "use": "sig", "n": number(of_rsa.n, 256), "e": "AQAB"},
        {"kty": "EC", "kid": "ec", "use": "sig", "crv": "P-256", "x": number(point.x, 32), "y": number(point.y, 32)},
    ]
    (folder / "jwks.json").write_text(json.dumps({"keys": listed}))


def signature(algorithm, key, signed):
    if algorithm == "none":
        return b""
    if algorithm == "HS256":
        public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return hmac.digest(public, signed, hashlib.sha256)
    if algorithm == "RS256":
        return key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    r, s = utils.decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def sign(folder, wanted):
    key = serialization.load_pem_private_key((folder / f"{wanted['key']}.pem").read_bytes(), None)
    header = {"typ": "JWT", "alg": wanted["alg"], "kid": wanted["kid"]}
    parts = [encode(json.dumps(part).encode()) for part in (header, wanted["claims"])]
    signed = ".".join(parts)
    return signed + "." + encode(signature(wanted["alg"], key, signed.encode()))


def main(verb, folder):
    folder = pathlib.Path(folder)
    if verb == "keys":
        return make_keys(folder)
    print(json.dumps([sign(folder, wanted) for wanted in json.load(sys.stdin)]))


main(*sys.argv[1:])
