"""A CSR made by pyca/cryptography.

    csr.py KEY_OUT CSR_OUT URI DNS_NAME
"""

import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def main(key_out, csr_out, uri, dns_name):
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri), x509.DNSName(dns_name)])
    csr = x509.CertificateSigningRequestBuilder(x509.Name([]), [x509.Extension(names.oid, True, names)]).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    with open(key_out, "wb") as file:
        file.write(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    with open(csr_out, "wb") as file:
        file.write(csr.public_bytes(pem))


main(*sys.argv[1:])
