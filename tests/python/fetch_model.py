#!/usr/bin/env python3
"""Fetches one file of a model over gRPC and prints what came as a line of JSON."""

import argparse
import json
import sys

import grpc

import client


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True, metavar="HOST:PORT")
    parser.add_argument("--model", required=True, metavar="ORG/NAME")
    parser.add_argument("--file", required=True, metavar="PATH")
    parser.add_argument("--revision", default="", help="branch, tag or commit (main)")
    parser.add_argument("--token", help="for a process of another user")
    options = parser.parse_args()
    try:
        with client.channel(options.address) as channel:
            summary = client.model_summary(channel, options.model, options.file, options.revision, options.token)
    except grpc.RpcError as error:
        sys.exit(f"fetch_model: {error.code().name}: {error.details()}")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
