"""Keys and tokens of an issuer of JSON Web Tokens (RFC 7515, 7517), made with pyca/cryptography.

usage: es256.py key FOLDER NAME          writes NAME.key and NAME.jwks
       es256.py token FOLDER NAME SUB    writes NAME.jwt, signed with NAME.key
"""

import base64
import json
import pathlib
import sys
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


verb, folder, name = sys.argv[1:4]
path = pathlib.Path(folder) / name
if verb == "key":
    key = ec.generate_private_key(ec.SECP256R1())
    path.with_suffix(".key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    point = key.public_key().public_numbers()
    x, y = (encode(number.to_bytes(32, "big")) for number in (point.x, point.y))
    jwk = {"kty": "EC", "crv": "P-256", "kid": name, "alg": "ES256", "use": "sig", "x": x, "y": y}
    path.with_suffix(".jwks").write_text(json.dumps({"keys": [jwk]}))
else:
    key = serialization.load_pem_private_key(path.with_suffix(".key").read_bytes(), None)
    now = int(time.time())
    header = {"alg": "ES256", "typ": "JWT", "kid": name}
    claims = {
        "iss": "https://issuer.example",
        "aud": ["signet"],
        "sub": sys.argv[4],
        "iat": now,
        "exp": now + 600,
    }
    signed = ".".join(encode(json.dumps(part).encode()) for part in (header, claims))
    r, s = utils.decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    signature = encode(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    path.with_suffix(".jwt").write_text(f"{signed}.{signature}\n")
