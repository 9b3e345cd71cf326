"""`framehost doctor`: manifests, the programs that they name, policies, sandboxes. A row of "Browsers" in docs/doctor.md for each."""

import json
import os
import shutil
from pathlib import Path

from doctor import ADVICE, ID, NOTHING, OTHER_ID, alone, closed_folder, config, ordinary, world


def policy(**policies):
    return lambda world: world.put("etc/opt/chrome/policies/managed/it.json", json.dumps(policies))


def edited(**members):
    return lambda world: world.edit(**members)


def no_manifest(world):
    assert world.hub.run("uninstall").returncode == 0


def directory_for_a_manifest(world):
    world.manifest.unlink()
    world.manifest.mkdir()


def link_to_nothing(world):
    world.manifest.unlink()
    world.manifest.symlink_to("/nowhere/manifest.json")


def program_that_moved(world):
    """The program was somewhere else when it was installed, as before an upgrade by hand."""
    world.edit(path=str(world.hub.root / "older/framehost-relay"))


def not_executable(world):
    folder = alone(world, "framehost", "framehost-relay")
    world.edit(path=str(folder / "framehost"))
    (folder / "framehost").chmod(0o644)


def for_everybody(world):
    program = world.hub.root / "open"
    shutil.copy("/bin/true", program)
    world.edit(path=str(program))
    program.chmod(0o777)


def half_a_relay(world):
    folder = alone(world, "framehost", "framehost-relay")
    relay = folder / "framehost-relay"
    os.truncate(relay, 4096)
    world.edit(path=str(relay))


def half_a_program(world):
    folder = alone(world, "framehost", "framehost-relay")
    (folder / "framehost").write_text("")
    world.edit(path=str(folder / "framehost-relay"))


def relay_alone(world):
    world.edit(path=str(alone(world, "framehost-relay") / "framehost-relay"))


def relay_beside_a_program_that_cannot_be_started(world):
    folder = alone(world, "framehost", "framehost-relay")
    (folder / "framehost").chmod(0o644)
    world.edit(path=str(folder / "framehost-relay"))


def without_relay(world):
    # The program alone, and the manifest names it.
    folder = alone(world, "framehost")
    world.relay = world.program.with_name("framehost-relay")
    world.program = folder / "framehost"
    world.edit(path=str(world.program))


def with_relay(world):
    shutil.copy(world.relay, world.program.parent)
    world.follow("framehost install --extension-id ID")


def relay_that_cannot_be_started(world):
    without_relay(world)
    shutil.copy(world.relay, world.program.parent)
    world.program.with_name("framehost-relay").chmod(0o644)


def another_browser(world):
    (world.hub.home / ".config/microsoft-edge").mkdir()


def data_dir(world):
    world.arguments = ["--user-data-dir", world.hub.root / "pro file"]


def another_extension(world):
    world.arguments = ["--extension-id", OTHER_ID]


def folder_of_root(world):
    for path in (world.manifest, world.manifest.parent):
        shutil.chown(path, "root", "root")


def folder_of_root_alone(world):
    folder_of_root(world)
    world.manifest.parent.chmod(0o700)
    world.manifest.chmod(0o600)


def closed_configurations(world):
    for browser in ("chromium", "microsoft-edge", "vivaldi"):
        folder = world.hub.home / ".config" / browser
        folder.mkdir()
        shutil.chown(folder, "nobody", "nogroup")
    (world.hub.home / ".config").chmod(0)


def other_browser_of_root(world):
    other = world.hub.home / ".config/chromium"
    other.mkdir(mode=0o755)
    shutil.chown(other, "root", "root")


def file_for_a_folder_of_manifests(world):
    no_manifest(world)
    world.manifest.parent.parent.mkdir(exist_ok=True)
    world.manifest.parent.write_text("")


def manifest_of_another_user(world):
    shutil.chown(world.manifest, "daemon", "daemon")


def firefox_alone(world):
    no_manifest(world)
    options = ["--browser", "firefox", "--firefox-id", "a@b.example", "--root", str(world.root)]
    assert world.hub.run("install", *options).returncode == 0
    world.arguments = ["--extension-id", ID]


def program_in_a_closed_folder(world):
    world.edit(path=str(closed_folder(world) / "framehost-relay"))


def allowed_by_policy(world):
    world.put("etc/opt/chrome/policies/managed/later.json", '{"NativeMessagingAllowlist": ["com.framehost.host"],} // ours')


# How it is spoilt, the finding's name, how bad that is, and what mends it.
CASES = [
    (no_manifest, "not_installed", "error", ADVICE),
    (lambda world: world.manifest.write_text('{"name": "com.framehost.host",'), "manifest_json", "error", ADVICE),
    (lambda world: world.manifest.write_text("[]"), "manifest_json", "error", ADVICE),
    (directory_for_a_manifest, "manifest_unreadable", "error", ADVICE),
    (link_to_nothing, "manifest_unreadable", "error", ADVICE),
    (edited(name="com.framehost.other"), "manifest_name", "error", ADVICE),
    (edited(description=""), "manifest_description", "error", ADVICE),
    (edited(type="pipe"), "manifest_type", "error", ADVICE),
    (edited(allowed_origins=[f"chrome-extension://{ID}"]), "extension_refused", "error", ADVICE),
    (edited(allowed_origins=[]), "no_extension_allowed", "error", ADVICE),
    (another_extension, "extension_not_allowed", "error", ADVICE),
    (lambda world: world.manifest.chmod(0o666), "manifest_permissions", "error", ADVICE),
    (lambda world: world.manifest.parent.chmod(0o777), "manifest_permissions", "error", ADVICE),
    (lambda world: world.chrome.chmod(0o777), "manifest_permissions", "error", ADVICE),
    (edited(path="~/framehost"), "host_path_relative", "error", ADVICE),
    (program_that_moved, "host_missing", "error", ADVICE),
    (edited(path="/"), "host_not_a_file", "error", ADVICE),
    (not_executable, "host_not_executable", "error", {"other_program"}),
    (half_a_relay, "host_broken", "error", ADVICE),
    (half_a_program, "host_broken", "error", ADVICE),
    (relay_alone, "hub_program_missing", "error", ADVICE),
    (relay_beside_a_program_that_cannot_be_started, "hub_program_missing", "error", {"other_program"}),
    (edited(path="/bin/true"), "other_program", "warning", ADVICE),
    (without_relay, "relay_missing", "warning", with_relay),
    (relay_that_cannot_be_started, "relay_missing", "warning", {"other_program"}),
    (another_browser, "browser_without_manifest", "warning", ADVICE),
    (data_dir, "browser_without_manifest", "error", ADVICE),
    (policy(NativeMessagingUserLevelHosts=False), "policy_user_hosts", "error", ADVICE),
    (policy(NativeMessagingBlocklist=["*"]), "policy_blocklist", "error", allowed_by_policy),
    (lambda world: world.put("etc/opt/chrome/policies/managed/it.json", "{"), "policy_unreadable", "warning", policy()),
    (lambda world: (world.root / "snap/chromium").mkdir(parents=True), "snap", "warning", NOTHING),
    (lambda world: (world.hub.home / ".var/app/com.brave.Browser").mkdir(parents=True), "flatpak", "warning", NOTHING),
]

# The same where files are another user's, or closed to their own.
ORDINARY_CASES = [
    (folder_of_root, "manifest_folder_unwritable", "warning", ADVICE),
    (folder_of_root_alone, "manifest_unreadable", "error", ADVICE),
    (closed_configurations, "manifest_unreadable", "error", {"browser_without_manifest"}),
    (program_in_a_closed_folder, "host_unreadable", "error", ADVICE),
    (manifest_of_another_user, "manifest_permissions", "error", ADVICE),
]


def test_who_may_start_it_is_said_of_each_browser(world):
    ok = [finding for finding in json.loads(world.doctor("--json").stdout)["findings"] if finding["check"] == "manifest"]
    assert [finding["message"] for finding in ok] == [f"Google Chrome can start framehost for {ID}"]


def test_policies_that_allow_the_host_and_those_for_other_browsers_do_no_harm(world):
    policy(NativeMessagingBlocklist=["*"], NativeMessagingAllowlist=["com.framehost.host"])(world)
    forbidding = {"NativeMessagingUserLevelHosts": False, "NativeMessagingBlocklist": ["*"]}
    world.put("etc/opt/edge/policies/managed/it.json", json.dumps(forbidding))
    assert world.findings() == {}


def test_policies_are_read_as_chromium_reads_them(world):
    # Comments and last commas are none of JSON's, names mean nothing, and of two files the last one counts.
    world.put("etc/opt/chrome/policies/managed/a.json", '{"NativeMessagingUserLevelHosts": false, // by order\n}')
    assert list(world.findings()) == ["policy_user_hosts"]
    world.put("etc/opt/chrome/policies/managed/b.bak", '\ufeff{"NativeMessagingUserLevelHosts": true}')
    assert world.findings() == {}


def test_a_manifest_of_the_machine_does_for_a_user_and_for_policies(world):
    no_manifest(world)
    done = world.hub.run("install", "--scope", "system", "--browser", "chrome", "--extension-id", ID, "--root", str(world.root))
    assert done.returncode == 0, done.stderr
    policy(NativeMessagingUserLevelHosts=False)(world)
    assert world.findings() == {}
    (world.root / "etc/opt/chrome/native-messaging-hosts/com.framehost.host.json").chmod(0o640)
    found = world.findings()
    assert list(found) == ["manifest_permissions"]
    world.follow(found["manifest_permissions"]["advice"])
    assert world.findings() == {}


def test_a_program_that_everybody_may_replace_is_found(world):
    for_everybody(world)
    found = world.findings()
    assert set(found) == {"host_permissions", "other_program"}
    world.follow(found["host_permissions"]["advice"])
    assert set(world.findings()) == {"other_program"}


def test_a_folder_in_which_everybody_may_replace_the_program_is_found(world):
    folder = alone(world, "framehost", "framehost-relay")
    world.edit(path=str(folder / "framehost-relay"))
    assert set(world.findings()) == {"other_program"}
    for open_to_all in (folder, folder / "framehost"):
        open_to_all.chmod(0o777)
        found = world.findings()
        assert set(found) == {"host_permissions", "other_program"} and str(open_to_all) in found["host_permissions"]["message"]
        world.follow(found["host_permissions"]["advice"])
        assert set(world.findings()) == {"other_program"}


def test_the_home_of_somebody_else_is_not_advised_to_be_taken_over(ordinary):
    home = ordinary.hub.root / "of root"
    home.mkdir(mode=0o700)
    ordinary.hub.env["HOME"] = str(home)
    found = ordinary.findings()["manifest_unreadable"]
    assert found["subject"] == str(home) and found["advice"].startswith("set HOME to your own ")


def test_an_extension_for_which_no_browser_knows_of_framehost_is_found(world):
    firefox_alone(world)
    found = world.findings()
    assert found["extension_not_allowed"]["subject"] == ID
    world.follow(found["extension_not_allowed"]["advice"])
    assert world.findings() == {}


def follow_in_order(world, *checks):
    found = world.findings()
    assert list(found) == [*checks]
    for check in checks:
        world.follow(found[check]["advice"])
    assert world.findings() == {}


def test_what_keeps_install_from_writing_is_said_before_it_is_advised(ordinary):
    other_browser_of_root(ordinary)
    follow_in_order(ordinary, "manifest_folder_unwritable", "browser_without_manifest")


def test_what_is_in_the_way_of_manifests_is_said(world):
    file_for_a_folder_of_manifests(world)
    done = world.hub.run("install", "--extension-id", ID, "--root", str(world.root))
    assert done.returncode == 1 and "framehost doctor says what is in the way" in done.stderr, done.stderr
    follow_in_order(world, "manifest_folder_unwritable", "not_installed")


def test_a_manifest_of_the_machine_is_taken_back_for_the_machine(world):
    no_manifest(world)
    options = ["--scope", "system", "--browser", "chrome", "--extension-id", ID, "--root", str(world.root)]
    assert world.hub.run("install", *options).returncode == 0
    manifest = world.root / "etc/opt/chrome/native-messaging-hosts/com.framehost.host.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "path": "/nowhere/framehost"}))
    advice = world.findings()["host_missing"]["advice"]
    assert f"; or sudo {world.program} uninstall --scope system --root {world.root}, if" in advice


def test_half_a_relay_is_not_installed(world):
    world.relay = world.program.with_name("framehost-relay")
    world.program = alone(world, "framehost", "framehost-relay") / "framehost"
    world.program.with_name("framehost-relay").write_text("")
    done = world.run(world.program, "install", "--extension-id", ID, "--root", world.root)
    assert done.returncode == 1 and "framehost-relay cannot be started" in done.stderr, done.stderr


def test_a_profile_of_its_own_is_looked_at_when_it_is_named(world):
    profile = world.hub.root / "profile"
    assert world.hub.run("install", "--extension-id", ID, "--user-data-dir", str(profile)).returncode == 0
    manifest = profile / "NativeMessagingHosts/com.framehost.host.json"
    manifest.write_text("{")
    assert world.findings() == {}
    world.arguments = ["--user-data-dir", profile]
    found = world.findings()
    assert [Path(finding["subject"]) for finding in found.values()] == [manifest]
    world.follow(found["manifest_json"]["advice"])
    assert world.findings() == {}


def test_an_extension_is_looked_for_when_it_is_named(world):
    world.arguments = ["--extension-id", ID]
    assert world.findings() == {}
    world.arguments = ["--extension-id", ID, "--firefox-id", "no id"]
    assert "name@example.org" in world.doctor().stderr


def test_a_repair_is_what_the_doctor_says(world):
    world.edit(description="", allowed_origins=["chrome-extension://*/"])
    found = world.findings()
    assert set(found) == {"manifest_description", "extension_refused"}
    world.follow(found["extension_refused"]["advice"])
    assert world.findings() == {}
    assert os.stat(world.manifest).st_mode & 0o777 == 0o644


def test_a_home_in_which_install_can_make_nothing_is_named_before_install_is_advised(ordinary):
    ordinary.manifest.unlink()
    for folder in (ordinary.chrome, ordinary.hub.home / ".config"):
        shutil.rmtree(folder)
    shutil.chown(ordinary.hub.home, "root")
    try:
        found = ordinary.findings()
        assert list(found)[:2] == ["manifest_folder_unwritable", "not_installed"], found
        assert found["manifest_folder_unwritable"]["advice"].startswith("set HOME to your own ")
    finally:
        shutil.chown(ordinary.hub.home, "nobody")
    ordinary.follow(ordinary.findings()["not_installed"]["advice"])
    assert ordinary.findings() == {}


def test_a_browsers_folder_on_a_disk_that_is_away_is_found(world):
    away = world.hub.root / "away"
    (world.hub.home / ".config/chromium").symlink_to(away)
    found = world.findings()
    assert list(found) == ["manifest_folder_unwritable"] and "leads to" in found["manifest_folder_unwritable"]["message"]
    assert found["manifest_folder_unwritable"]["advice"].startswith("mount or put back what it leads to; ")
    (away / "NativeMessagingHosts").mkdir(parents=True)
    assert list(world.findings()) == ["browser_without_manifest"]
