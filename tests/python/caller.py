#!/usr/bin/env python3
"""Makes one call to framehost, as this user or as another one, and prints what came back as a line of JSON.

With --other-user the process becomes `nobody` after it has loaded what it needs and before it opens a socket: what the
kernel then says about the socket's owner is the same as for a program that nobody started, and it works where nobody
may not read this user's Python. That takes root.
"""

import argparse
import encodings.idna  # noqa: F401  http.client loads it on first use, which is too late
import hashlib
import http.client
import json
import os
import pwd
import socket

import grpc
import grpc._channel  # noqa: F401  grpc, too, loads it on first use

import client


def become_nobody():
    nobody = pwd.getpwnam("nobody")
    os.chdir("/")
    os.setgroups([])
    os.setresgid(nobody.pw_gid, nobody.pw_gid, nobody.pw_gid)
    os.setresuid(nobody.pw_uid, nobody.pw_uid, nobody.pw_uid)


def call_http(address, method, path, headers):
    """One request with exactly these headers (and `Host`, unless they have one)."""
    host, port = address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=20)
    has_host = any(name.lower() == "host" for name, _ in headers)
    connection.putrequest(method, path, skip_host=has_host, skip_accept_encoding=True)
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return {
        "uid": os.getuid(),
        "status": response.status,
        "headers": {name.lower(): value for name, value in response.getheaders()},
        "body": body.decode("utf-8", "replace"),
    }


def call_grpc(address, model, file, token, authority):
    """GetModelFile with a channel of its own."""
    answer = {"uid": os.getuid(), "code": "OK", "details": "", "sha256": None, "size_bytes": None}
    with client.channel(address, authority, local_subchannels=True) as channel:
        try:
            _, data = client.fetch_model(channel, model, file, timeout=20, token=token)
            answer["sha256"] = hashlib.sha256(data).hexdigest()
            answer["size_bytes"] = len(data)
        except grpc.RpcError as error:
            answer["code"] = error.code().name
            answer["details"] = error.details()
    return answer


def call_unix(path):
    """Tries to connect to the hub's local socket, and waits for the hub to say who it is, which it does first."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(20)
        try:
            link.connect(path)
            return {"uid": os.getuid(), "error": None, "is_served": link.recv(1) != b""}
        except OSError as error:
            return {"uid": os.getuid(), "error": type(error).__name__}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other-user", action="store_true")
    kinds = parser.add_subparsers(dest="kind", required=True)
    over_http = kinds.add_parser("http")
    over_http.add_argument("address")
    over_http.add_argument("path")
    over_http.add_argument("--method", default="GET")
    over_http.add_argument("--header", action="append", default=[], metavar="NAME: VALUE")
    over_grpc = kinds.add_parser("grpc")
    over_grpc.add_argument("address")
    over_grpc.add_argument("model")
    over_grpc.add_argument("file")
    over_grpc.add_argument("--token")
    over_grpc.add_argument("--authority")
    over_unix = kinds.add_parser("unix")
    over_unix.add_argument("path")
    options = parser.parse_args()
    if options.other_user:
        become_nobody()
    if options.kind == "http":
        headers = [tuple(part.strip() for part in header.split(":", 1)) for header in options.header]
        answer = call_http(options.address, options.method, options.path, headers)
    elif options.kind == "grpc":
        answer = call_grpc(options.address, options.model, options.file, options.token, options.authority)
    else:
        answer = call_unix(options.path)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
