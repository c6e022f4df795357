"""A mesh proxy in forty lines: has its CSR signed over Istio's CA protocol, as ztunnel and pilot-agent do, and shows the answer.

Needs grpcio, grpcio-tools and cryptography. Exit codes: 0 signed, 1 refused.
"""

import argparse
import pathlib
import sys

import grpc
from cryptography import x509

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto" / "proto"
DEADLINE = 10  # seconds


def main():
    arguments = parse_arguments()
    try:
        chain = create_certificate(arguments)
    except grpc.RpcError as error:
        sys.exit(f"refused: {error.code().name}: {error.details()}")
    *certificates, roots = chain
    for number, element in enumerate(certificates):
        (certificate,) = x509.load_pem_x509_certificates(element.encode())
        what = "leaf" if number == 0 else "intermediate"
        print(f"cert_chain[{number}]  {what}: {uri(certificate)}")
    count = len(x509.load_pem_x509_certificates(roots.encode()))
    print(f"cert_chain[{len(certificates)}]  all roots: {count}")
    if any(not element.endswith("\n") for element in chain):
        sys.exit("an element does not end with a newline; proxies join them as they are")
    arguments.out.write_text("".join(certificates))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, help="HOST:PORT of the CA")
    parser.add_argument("--roots", required=True, type=pathlib.Path, help="whom to trust as the CA, PEM")
    parser.add_argument("--csr", required=True, type=pathlib.Path, help="PEM")
    parser.add_argument("--bearer", type=pathlib.Path, help="file with a join token or JWT")
    parser.add_argument("--out", required=True, type=pathlib.Path, help="file for leaf and intermediates, PEM")
    return parser.parse_args()


def create_certificate(arguments):
    sys.path.append(str(PROTO))
    messages, services = grpc.protos_and_services("istio_v1_auth.proto")
    request = messages.IstioCertificateRequest(csr=arguments.csr.read_text())
    metadata = []
    if arguments.bearer:
        metadata.append(("authorization", "Bearer " + arguments.bearer.read_text().strip()))
    tls = grpc.ssl_channel_credentials(arguments.roots.read_bytes())
    with grpc.secure_channel(arguments.server, tls) as channel:
        stub = services.IstioCertificateServiceStub(channel)
        return stub.CreateCertificate(request, metadata=metadata, timeout=DEADLINE).cert_chain


def uri(certificate):
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (name,) = names.get_values_for_type(x509.UniformResourceIdentifier)
    return name


if __name__ == "__main__":
    main()
