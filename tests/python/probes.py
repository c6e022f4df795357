"""Asks a server what it runs, as grpcio does: health and reflection over TLS and over the administrators' socket, the bundle
without a client certificate. Messages are written by hand, so that nothing but grpcio is needed.

usage: probes.py HOST:PORT SOCKET BUNDLE
"""

import sys

import grpc

address, socket, bundle = sys.argv[1:]
EMPTY = b""
SERVING = b"\x08\x01"  # status = SERVING
LIST_SERVICES = b"\x3a\x01*"  # list_services = "*"
SERVICES = [
    b"grpc.health.v1.Health",
    b"signet.v1.CertificateAuthority",
    b"signet.v1.Tokens",
    b"signet.v1.Certificates",
    b"signet.v1.Resources",
    b"signet.v1.Authorities",
    b"signet.v1.Clock",
    b"istio.v1.auth.IstioCertificateService",
]


def health_of(service):
    return b"\x0a" + bytes([len(service)]) + service


def probe(channel):
    check = channel.unary_unary("/grpc.health.v1.Health/Check")
    assert check(EMPTY, timeout=10) == SERVING
    for service in SERVICES[1:]:
        assert check(health_of(service), timeout=10) == SERVING, service
    try:
        check(health_of(b"no.such.Service"), timeout=10)
        raise AssertionError("an unknown service has no health")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND, error
    for version in ["v1", "v1alpha"]:
        method = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
        answer = next(channel.stream_stream(method)(iter([LIST_SERVICES]), timeout=10))
        for service in SERVICES:
            assert service in answer, (version, service)
    get_bundle = channel.unary_unary("/signet.v1.CertificateAuthority/GetBundle")
    assert b"example.org" in get_bundle(EMPTY, timeout=10)


with open(bundle, "rb") as file:
    credentials = grpc.ssl_channel_credentials(root_certificates=file.read())
with grpc.secure_channel(address, credentials) as channel:
    probe(channel)
# Without it grpcio sends the path of the socket as the authority, percent-encoded, which Rust's HTTP/2 refuses.
options = [("grpc.default_authority", "localhost")]
with grpc.insecure_channel(f"unix:{socket}", options=options) as channel:
    probe(channel)
