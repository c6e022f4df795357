"""pyca/cryptography judges a certificate: as that of a client, and as that of a server if a DNS name is given.

    verify.py ROOT CHAIN [DNS_NAME]

Prints {"client": [names], "server": true} as far as it was asked; ends with an error where it does not verify.
"""

import json
import sys

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store


def load(path):
    return x509.load_pem_x509_certificates(open(path, "rb").read())


def main(root, chain, dns_name=None):
    policy = PolicyBuilder().store(Store(load(root)))
    leaf, *intermediates = load(chain)
    client = policy.build_client_verifier().verify(leaf, intermediates)
    told = {"client": [name.value for name in client.subjects]}
    if dns_name:
        policy.build_server_verifier(x509.DNSName(dns_name)).verify(leaf, intermediates)
        told["server"] = True
    print(json.dumps(told))


main(*sys.argv[1:])
