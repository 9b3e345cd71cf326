"""`framehost install` and installer/install.sh, as people run them."""

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from conftest import REPO
from native import NativeClient

ID = "abcdefghijklmnopabcdefghijklmnop"
OTHER_ID = "ponmlkjihgfedcbaponmlkjihgfedcba"
FIREFOX_ID = "framehost@example.org"
MANIFEST = "NativeMessagingHosts/com.framehost.host.json"


@pytest.fixture
def home(tmp_path):
    home = tmp_path / "a \"home\" ü'"
    home.mkdir()
    return home


@pytest.fixture
def run(home):
    def run(*command, code=0):
        environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            [str(part) for part in command], env=environment, capture_output=True, text=True, timeout=60,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


def read(user_data_dir):
    return json.loads((Path(user_data_dir) / MANIFEST).read_text())


def test_install_and_uninstall_for_browsers_that_are_there(binary, home, run):
    chrome, chromium = home / ".config/google-chrome", home / ".config/chromium"
    chrome.mkdir(parents=True)
    said = run(binary, "install", "--extension-id", ID)
    assert str(chrome) in said.stdout + said.stderr
    manifest = read(chrome)
    assert manifest["name"] == "com.framehost.host"
    assert manifest["type"] == "stdio"
    assert manifest["allowed_origins"] == [f"chrome-extension://{ID}/"]
    assert Path(manifest["path"]).samefile(f"{binary}-relay") and Path(manifest["path"]).is_absolute()
    assert not chromium.exists()

    run(binary, "install", "--extension-id", OTHER_ID)
    before = (chrome / MANIFEST).read_text()
    assert read(chrome)["allowed_origins"] == [f"chrome-extension://{ID}/", f"chrome-extension://{OTHER_ID}/"]
    run(binary, "install", "--extension-id", ID)
    assert (chrome / MANIFEST).read_text() == before

    run(binary, "uninstall")
    assert chrome.is_dir() and not (chrome / "NativeMessagingHosts").exists()
    run(binary, "uninstall")


def test_install_where_no_browser_is_writes_for_chromium_and_chrome(binary, home, run):
    run(binary, "install", "--extension-id", ID)
    assert sorted(path.name for path in (home / ".config").iterdir()) == ["chromium", "google-chrome"]


def test_install_into_a_user_data_dir(binary, home, run):
    run(binary, "install", "--extension-id", ID, "--extension-id", OTHER_ID, "--user-data-dir", home / "my profile")
    assert len(read(home / "my profile")["allowed_origins"]) == 2
    assert not (home / ".config").exists()
    run(binary, "uninstall", "--user-data-dir", home / "my profile")
    assert not (home / "my profile" / MANIFEST).exists()


def test_install_says_what_is_wrong(binary, home, run):
    for arguments, expected in [
        (["--extension-id", "abc"], "32 letters from a to p"),
        (["--extension-id", ID, "--browser", "netscape"], "netscape"),
        ([], "extension"),
        (["--extension-id", FIREFOX_ID], "this is an id of Firefox's: give it by --firefox-id"),
        (["--firefox-id", ID], "this is an id of Chromium's: give it by --extension-id"),
        (["--extension-id", ID, "--user-data-dir=~/profile"], "$HOME"),
        (["--extension-id", ID, "--user-data-dir", "/etc/passwd", "--dry-run"], "/etc/passwd is none"),
        (["--extension-id", ID, "--user-data-dir", "/etc/passwd/profile"], "/etc/passwd is none"),
    ]:
        done = subprocess.run(
            [binary, "install", *arguments], env={"HOME": str(home), "PATH": os.environ["PATH"]}, capture_output=True,
            text=True, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode != 0, arguments
        assert expected in done.stderr, arguments
    assert not (home / ".config").exists()


def test_uninstall_leaves_nothing_of_what_install_made(binary, home, run):
    run(binary, "install", "--extension-id", ID, "--firefox-id", FIREFOX_ID)
    run(binary, "install", "--browser", "brave", "--browser", "tor", "--extension-id", ID, "--firefox-id", FIREFOX_ID)
    assert len([path for path in home.rglob("*.json")]) == 5
    run(binary, "uninstall")
    assert not list(home.rglob("*"))


def test_uninstall_leaves_folders_that_somebody_has_made(binary, home, run):
    profile = home / "work/profiles/mine"
    profile.parent.mkdir(parents=True, mode=0o700)
    run(binary, "install", "--user-data-dir", profile, "--extension-id", ID)
    run(binary, "uninstall", "--user-data-dir", profile)
    assert [path.name for path in home.rglob("*")] == ["work"]


def test_uninstall_leaves_what_it_may_not_remove(binary, make_hub):
    hub = make_hub(start=False)
    folder = hub.home / "vault/profile"
    folder.mkdir(parents=True, mode=0o700)
    hub.become_ordinary()
    options = ["--user-data-dir", str(folder)]
    assert hub.run("install", *options, "--extension-id", ID).returncode == 0
    folder.parent.chmod(0o500)
    done = hub.run("uninstall", *options)
    folder.parent.chmod(0o700)
    assert done.returncode == 0 and not list(folder.rglob("*.json")), done.stderr


def test_a_dry_run_shows_the_plan_and_does_nothing(binary, home, run):
    said = run(binary, "install", "--extension-id", ID, "--browser", "edge", "--dry-run").stdout
    manifest = home / ".config/microsoft-edge" / MANIFEST
    assert f"write {manifest}: Microsoft Edge starts the host for {ID}" in said and "nothing was done" in said
    assert not list(home.iterdir())


def test_install_for_the_whole_machine(binary, home, run, tmp_path):
    root = tmp_path / "root"
    options = ["--scope", "system", "--root", root]
    run(binary, "install", *options, "--extension-id", ID, "--firefox-id", FIREFOX_ID, "--binary", "/usr/bin/framehost-relay")
    manifests = sorted(str(path.parent.relative_to(root)) for path in root.rglob("com.framehost.host.json"))
    assert manifests == [
        f"{folder}/native-messaging-hosts"
        for folder in ["etc/chromium", "etc/opt/chrome", "etc/opt/chrome_for_testing", "etc/opt/edge", "etc/opt/vivaldi",
                       "etc/opt/yandex-browser", "usr/lib/mozilla"]
    ]  # fmt: skip
    for path in root.rglob("com.framehost.host.json"):
        assert json.loads(path.read_text())["path"] == "/usr/bin/framehost-relay"
        assert path.stat().st_mode & 0o777 == 0o644 and path.parent.stat().st_mode & 0o777 == 0o755
    assert not list(home.iterdir())
    assert "up to date" in run(binary, "install", *options, "--extension-id", ID, "--binary", "/usr/bin/framehost-relay").stdout
    run(binary, "uninstall", *options)
    assert not [path for path in root.rglob("*") if path.is_file() or "native" in path.name]


def test_who_may_not_write_for_the_machine_is_told_how(binary, home, run):
    # Not even root makes folders there.
    options = ["--scope", "system", "--root", "/sys", "--browser", "chrome", "--extension-id", ID]
    done = run(binary, "install", *options, code=1)
    assert "run it with sudo" in done.stderr
    assert done.stderr.count("(os error") == 1, "the cause is said once"
    assert done.stdout == "", "what is said has been done"


def test_a_package_takes_back_only_what_starts_it(binary, home, run, tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    other.write_text("")
    options = ["--scope", "system", "--root", root]
    manifests = root / "etc/opt"

    def install(browser, program):
        named = ["--binary", program] if program else []
        run(binary, "install", *options, "--browser", browser, "--extension-id", ID, *named)

    install("chrome", None)
    install("edge", other)
    install("vivaldi", "/nowhere/framehost-relay")
    said = run(binary, "uninstall", *options, "--own").stdout
    assert f"it starts another framehost: {other}" in said
    assert [path.parents[1].name for path in manifests.rglob("*.json")] == ["edge"]
    run(binary, "uninstall", *options)
    assert not list(root.rglob("*.json"))


def test_scripts_of_packages_take_back_only_what_is_theirs():
    for script in ("debian/prerm", "rpm/preun.sh", "arch/framehost.install"):
        assert "framehost uninstall --scope system --own ||" in (REPO / "installer" / script).read_text()


def test_a_home_behind_a_link_works(binary, home, run, tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    home.rmdir()
    home.symlink_to(real)
    run(binary, "install", "--extension-id", ID, "--browser", "chromium")
    assert read(real / ".config/chromium")["allowed_origins"]
    run(binary, "uninstall")
    assert not list(real.iterdir())


def test_firefox_starts_the_host_for_the_ids_that_were_named(binary, home, run, make_hub):
    said = run(binary, "install", "--browser", "firefox", "--extension-id", ID, code=1)
    assert "--firefox-id" in said.stderr
    (home / ".mozilla/firefox").mkdir(parents=True)
    said = run(binary, "install", "--extension-id", ID, "--firefox-id", FIREFOX_ID).stdout
    place = home / ".mozilla/native-messaging-hosts/com.framehost.host.json"
    assert f"write {place}: Firefox" in said
    manifest = json.loads(place.read_text())
    assert manifest["allowed_extensions"] == [FIREFOX_ID] and "allowed_origins" not in manifest

    # As Firefox starts it: the manifest, then who asks.
    world = make_hub()
    with NativeClient(manifest["path"], world.env, [str(place), FIREFOX_ID]) as extension:
        assert extension.request("hello", protocol=1)["grpc"] == world.address
        [session] = extension.request("status")["sessions"]
        assert session["extension"] == FIREFOX_ID and session["origin"] is None
        assert FIREFOX_ID in world.run("status").stdout
    with NativeClient(manifest["path"], world.env, [f"chrome-extension://{ID}/"]) as extension:
        [session] = extension.request("status")["sessions"]
        assert session["extension"] == ID and session["origin"] == f"chrome-extension://{ID}"

    run(binary, "uninstall", "--browser", "firefox")
    assert (home / ".mozilla").is_dir() and not place.parent.exists()


def test_ids_of_both_families_are_installed_where_only_one_has_a_browser(binary, home, run):
    (home / ".config/google-chrome").mkdir(parents=True)
    run(binary, "install", "--extension-id", ID, "--firefox-id", FIREFOX_ID)
    assert read(home / ".config/google-chrome")["allowed_origins"] == [f"chrome-extension://{ID}/"]
    manifest = json.loads((home / ".mozilla/native-messaging-hosts/com.framehost.host.json").read_text())
    assert manifest["allowed_extensions"] == [FIREFOX_ID]
    run(binary, "uninstall")
    assert not (home / ".mozilla").exists()


def test_a_firefox_with_its_profiles_in_config_is_told_where_it_looks(binary, home, run):
    # As Firefox ESR 153 makes it in a home without .mozilla; manifests it reads there none.
    (home / ".config/mozilla/firefox").mkdir(parents=True)
    run(binary, "install", "--firefox-id", FIREFOX_ID)
    manifest = json.loads((home / ".mozilla/native-messaging-hosts/com.framehost.host.json").read_text())
    assert manifest["allowed_extensions"] == [FIREFOX_ID]
    assert [path.name for path in (home / ".config/mozilla").iterdir()] == ["firefox"]
    run(binary, "uninstall", "--browser", "firefox")
    assert not (home / ".mozilla").exists()


def test_a_firefox_extension_is_known_by_its_token_and_keeps_its_origin(binary, make_hub):
    world = make_hub()
    origin = "moz-extension://b9db16a4-6edc-47ec-a1f4-b86292ed211d"
    with NativeClient(f"{binary}-relay", world.env, ["/m/com.framehost.host.json", FIREFOX_ID]) as extension:
        token = extension.request("hello", protocol=1)["token"]

        def get(origin, token):
            headers = {"Origin": origin, "Authorization": f"Bearer {token}"}
            request = urllib.request.Request(f"http://{world.address}/healthz", headers=headers)
            try:
                with urllib.request.urlopen(request, timeout=20) as answer:
                    return answer.status
            except urllib.error.HTTPError as error:
                return error.code

        assert get(origin, world.token) == 403, "the user's token is no extension's"
        assert get("https://evil.example", token) == 403
        assert get(origin, token) == 200
        assert get(origin.replace("b9", "c9"), token) == 403
    assert get(origin, token) == 403


def test_browsers_in_a_sandbox_are_told_the_truth(binary, home, run):
    (home / "snap/chromium").mkdir(parents=True)
    (home / ".var/app/org.mozilla.firefox").mkdir(parents=True)
    said = run(binary, "install", "--extension-id", ID).stdout
    assert "it starts no program outside of its snap" in said and "flatpak override" in said
    said = run(binary, "install", "--extension-id", ID, "--browser", "chrome").stdout
    assert "snap" not in said


def test_a_file_that_is_not_ours_is_kept(binary, home, run):
    folder = home / "profile/NativeMessagingHosts"
    folder.mkdir(parents=True)
    (folder / "com.framehost.host.json").write_text("{ mine")
    said = run(binary, "install", "--extension-id", ID, "--user-data-dir", home / "profile")
    assert "not ours" in said.stdout + said.stderr
    assert (folder / "com.framehost.host.json.bak").read_text() == "{ mine"
    assert read(home / "profile")["allowed_origins"]


def test_the_installer_does_it_for_people(binary, home, run, make_hub):
    installer = REPO / "installer/install.sh"
    said = run(installer, "--binary", binary, "--extension-id", ID, "--user-data-dir", home / "profile").stdout
    installed = home / ".local/bin/framehost"
    relay = home / ".local/bin/framehost-relay"
    assert str(installed) in said and str(relay) in said
    manifest = read(home / "profile")
    assert Path(manifest["path"]) == relay
    assert manifest["allowed_origins"] == [f"chrome-extension://{ID}/"]

    # What the browser would start, started as the browser starts it.
    world = make_hub()
    with NativeClient(manifest["path"], world.env, [manifest["allowed_origins"][0]]) as extension:
        assert extension.request("hello", protocol=1)["grpc"] == world.address

    run(installer, "--uninstall", "--user-data-dir", home / "profile")
    assert not (home / "profile" / MANIFEST).exists()
    run(installer, "--uninstall")
    assert not installed.exists() and not relay.exists()


def test_the_installer_is_for_firefox_too(binary, home, run):
    run(REPO / "installer/install.sh", "--binary", binary, "--browser", "firefox", "--firefox-id", FIREFOX_ID)
    manifest = json.loads((home / ".mozilla/native-messaging-hosts/com.framehost.host.json").read_text())
    assert manifest["allowed_extensions"] == [FIREFOX_ID]


def test_the_installer_takes_framehost_and_nothing_else(binary, home, run):
    for wrong in ("/bin/true", f"{binary}-relay", "/nowhere/framehost"):
        done = run(REPO / "installer/install.sh", "--binary", wrong, "--extension-id", ID, code=1)
        assert wrong in done.stderr, done.stderr
    assert not [path for path in home.rglob("*") if path.is_file()]


def test_a_relay_in_the_place_of_framehost_does_not_start_itself(binary, home, run, tmp_path):
    folder = tmp_path / "programs"
    folder.mkdir()
    shutil.copy(f"{binary}-relay", folder / "framehost-relay")
    for make in (lambda: shutil.copy(f"{binary}-relay", folder / "framehost"), lambda: (folder / "framehost").symlink_to("framehost-relay")):
        (folder / "framehost").unlink(missing_ok=True)
        make()
        for name in ("framehost", "framehost-relay"):
            assert "install both programs once more" in run(folder / name, "--version", code=1).stderr


def test_the_installer_knows_the_sample_extension(binary, home, run):
    import base64
    import hashlib

    key = base64.b64decode(json.loads((REPO / "extension-sample/manifest.json").read_text())["key"])
    digits = hashlib.sha256(key).hexdigest()[:32]
    expected = "".join(chr(ord("a") + int(digit, 16)) for digit in digits)
    said = run(REPO / "installer/install.sh", "--binary", binary, "--browser", "chromium").stdout
    assert expected in said
    assert read(home / ".config/chromium")["allowed_origins"] == [f"chrome-extension://{expected}/"]


def test_the_installer_explains_itself(home, run):
    assert "--user-data-dir" in run(REPO / "installer/install.sh", "--help").stdout
    assert "--help" in run(REPO / "installer/install.sh", "--nonsense", code=1).stderr
    assert not list(home.iterdir())
