"""Who may call: processes of this user, and whoever holds the token. Not other users, not web pages."""

import ipaddress
import os
import stat
import subprocess

import grpc
import pytest

import client
import hf_cache
from conftest import other_user_prefix
from recording import wait_for

MODEL = "org/model"
EVIL = "Origin: https://evil.example"
WRONG = "0" * 64


@pytest.fixture
def served(hub):
    hf_cache.write_model(hub.cache, MODEL, {"config.json": b"{}"})
    return hub


def get(hub, *headers, other_user=False, path="/healthz"):
    arguments = [part for header in headers for part in ("--header", header)]
    return hub.call("http", hub.address, path, *arguments, other_user=other_user)


def bearer(token):
    return f"Authorization: Bearer {token}"


def test_the_runtime_files_are_for_the_user_alone(hub):
    assert hub.info_mode() == 0o600
    assert set(hub.info) >= {"pid", "version", "grpc", "token"}
    assert hub.address.startswith("127.0.0.1:")
    assert len(hub.token) >= 43, "256 bits, at most 6 in a character"
    for path in hub.runtime_dir.iterdir():
        mode = path.lstat().st_mode
        assert stat.S_ISLNK(mode) or stat.S_IMODE(mode) & 0o077 == 0, f"{path.name}: {stat.filemode(mode)}"


def test_the_hub_listens_on_loopback_alone(hub):
    descriptors = [os.readlink(f"/proc/{hub.process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{hub.process.pid}/fd")]
    found = []
    for table in ("tcp", "tcp6"):
        with open(f"/proc/{hub.process.pid}/net/{table}") as sockets:
            for fields in map(str.split, list(sockets)[1:]):
                if f"socket:[{fields[9]}]" in descriptors:
                    words = bytes.fromhex(fields[1].split(":")[0])
                    # Words in the machine's order, which is the other way round on every machine of ours.
                    found.append(ipaddress.ip_address(b"".join(words[at:at + 4][::-1] for at in range(0, len(words), 4))))
    assert found and all(address.is_loopback for address in found), found


def test_the_token_is_not_in_the_log_or_an_answer(hub):
    answer = get(hub)
    assert hub.token not in answer["body"] + str(answer["headers"]) + hub.output()


def test_every_start_has_a_token_of_its_own(make_hub):
    assert make_hub().token != make_hub().token


# gRPC


def test_another_user_is_refused_and_this_one_is_not(served):
    assert served.call("grpc", served.address, MODEL, "config.json")["code"] == "OK"
    answer = served.call("grpc", served.address, MODEL, "config.json", other_user=True)
    assert answer["code"] == "PERMISSION_DENIED", answer
    # What exists is not told either.
    assert served.call("grpc", served.address, "org/none", "x", other_user=True)["code"] == "PERMISSION_DENIED"


def test_another_user_with_the_token_is_accepted(served):
    arguments = ("grpc", served.address, MODEL, "config.json", "--token")
    assert served.call(*arguments, served.token, other_user=True)["code"] == "OK"
    for token in (WRONG, served.token[:-1], served.token + "0", "hf_abcdef"):
        answer = served.call(*arguments, token, other_user=True)
        assert answer["code"] in ("PERMISSION_DENIED", "UNAUTHENTICATED"), answer


def test_a_foreign_bearer_of_this_user_is_ignored(served):
    arguments = ("grpc", served.address, MODEL, "config.json", "--token")
    assert served.call(*arguments, "hf_abcdef")["code"] == "OK"


def test_another_authority_is_refused(served):
    for authority in ("evil.example", f"evil.example:{served.port}", "127.0.0.1:1", "127.0.0.1.evil.example"):
        answer = served.call("grpc", served.address, MODEL, "config.json", "--authority", authority)
        assert answer["code"] == "PERMISSION_DENIED", (authority, answer)
    for authority in (f"localhost:{served.port}", f"127.0.0.1:{served.port}", f"[::1]:{served.port}"):
        answer = served.call("grpc", served.address, MODEL, "config.json", "--authority", authority)
        assert answer["code"] == "OK", (authority, answer)


def test_another_authority_is_refused_with_the_token_too(served):
    arguments = ("--authority", "evil.example", "--token", served.token)
    assert served.call("grpc", served.address, MODEL, "config.json", *arguments)["code"] == "PERMISSION_DENIED"


def test_grpc_metadata_that_only_a_browser_sends_needs_the_token(served):
    from stubs import pb, pb_grpc

    with client.channel(served.address, local_subchannels=True) as channel:
        stub = pb_grpc.ModelManagementServiceStub(channel)
        for metadata in ([("origin", "https://evil.example")], [("sec-fetch-site", "cross-site")]):
            with pytest.raises(grpc.RpcError) as caught:
                stub.ListModels(pb.ListModelsRequest(), metadata=metadata, timeout=20)
            assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED


# HTTP


def test_this_user_is_answered(hub):
    answer = get(hub)
    assert answer["status"] == 200, answer
    assert "access-control-allow-origin" not in answer["headers"]


def test_another_user_is_forbidden(hub):
    assert get(hub, other_user=True)["status"] == 403
    assert get(hub, bearer(WRONG), other_user=True)["status"] == 403
    assert get(hub, bearer("hf_abcdef"), other_user=True)["status"] == 403
    assert get(hub, bearer(hub.token), other_user=True)["status"] == 200


def test_a_wrong_host_is_forbidden(hub):
    for host in ("evil.example", f"evil.example:{hub.port}", "127.0.0.1:1", "127.0.0.1.evil.example", "localhost.evil.example", ""):
        assert get(hub, f"Host: {host}")["status"] in (400, 403), host
        assert get(hub, f"Host: {host}", bearer(hub.token))["status"] in (400, 403), host
    assert get(hub, "Host: evil.example")["status"] == 403
    for host in (f"127.0.0.1:{hub.port}", f"localhost:{hub.port}", f"[::1]:{hub.port}"):
        assert get(hub, f"Host: {host}")["status"] == 200, host


def test_a_foreign_origin_is_forbidden(hub):
    for origin in (EVIL, "Origin: null", f"Origin: http://127.0.0.1:{hub.port}", "Origin: chrome-extension://" + "a" * 32):
        assert get(hub, origin)["status"] == 403, origin
    # An origin that is no extension's does not get in with the token either.
    assert get(hub, EVIL, bearer(hub.token))["status"] == 403


def test_a_browser_needs_the_token(hub):
    for site in ("cross-site", "same-site", "same-origin", "none"):
        assert get(hub, f"Sec-Fetch-Site: {site}")["status"] == 403, site
        assert get(hub, f"Sec-Fetch-Site: {site}", bearer(WRONG))["status"] == 403, site
        assert get(hub, f"Sec-Fetch-Site: {site}", bearer("hf_abcdef"))["status"] == 403, site
    assert get(hub, "Sec-Fetch-Site: none", bearer(hub.token))["status"] == 200
    assert get(hub, "Sec-Fetch-Mode: no-cors")["status"] == 403
    assert get(hub, "Sec-Fetch-Dest: image")["status"] == 403


def test_the_token_is_compared_whole(hub):
    for token in ("", hub.token[:-1], hub.token + "0", hub.token[::-1], "Bearer " + hub.token):
        assert get(hub, "Sec-Fetch-Site: none", bearer(token))["status"] == 403, token


def test_a_foreign_bearer_of_this_user_is_no_reason_to_refuse(hub):
    assert get(hub, bearer("hf_abcdef"))["status"] == 200
    assert get(hub, bearer(WRONG))["status"] == 200


def test_a_preflight_is_not_granted(hub):
    headers = [EVIL, "Access-Control-Request-Method: GET", "Access-Control-Request-Private-Network: true"]
    arguments = [part for header in headers for part in ("--header", header)]
    answer = hub.call("http", hub.address, "/healthz", "--method", "OPTIONS", *arguments)
    assert answer["status"] >= 400
    assert not [name for name in answer["headers"] if name.startswith("access-control-")]


# The local socket


def test_another_user_cannot_reach_the_local_socket(hub):
    sockets = [path for path in hub.runtime_dir.iterdir() if path.is_socket()]
    assert sockets
    for path in sockets:
        assert hub.call("unix", str(path))["error"] is None
        assert hub.call("unix", str(path), other_user=True)["error"] == "PermissionError"


def test_another_user_who_gets_to_the_local_socket_is_not_served(hub):
    """The modes of the directory and of the socket keep him out; the hub asks the kernel all the same."""
    [path] = [path for path in hub.runtime_dir.iterdir() if path.is_socket()]
    wait_for(lambda: stat.S_IMODE(path.stat().st_mode) == 0o600, "the socket's mode")
    for folder in (hub.root, hub.runtime_dir):
        folder.chmod(0o755)
    path.chmod(0o666)
    assert hub.call("unix", str(path))["is_served"]
    answer = hub.call("unix", str(path), other_user=True)
    assert answer["error"] in (None, "ConnectionResetError") and not answer.get("is_served"), answer


def test_a_hub_in_a_directory_of_another_user_is_not_asked(hub, tmp_path):
    """He would say where models come from, and be shown the user's own token for them."""
    assert hub.run("env").returncode == hub.run("status").returncode == 0
    own = hub.runtime_dir.stat().st_uid
    try:
        subprocess.run([*other_user_prefix(), "chown", "nobody", str(hub.runtime_dir)], check=True)
        for command in (["env"], ["status"], ["record", "cam", str(tmp_path / "out.mkv")]):
            done = hub.run(*command, timeout=20)
            assert done.returncode == 1 and "has to be the user's own" in done.stderr, (command, done)
            assert hub.address not in done.stdout
    finally:
        subprocess.run([*other_user_prefix(), "chown", str(own), str(hub.runtime_dir)], check=True)


def test_a_runtime_directory_of_another_user_is_not_used(make_hub):
    hub = make_hub(start=False)
    for mode in (0o700, 0o755):
        subprocess.run([*other_user_prefix(), "chown", "nobody", str(hub.runtime_dir)], check=True)
        subprocess.run([*other_user_prefix(), "chmod", oct(mode)[2:], str(hub.runtime_dir)], check=True)
        done = hub.run("hub", timeout=20)
        assert done.returncode == 1 and "has to be the user's own" in done.stderr, done.stderr
