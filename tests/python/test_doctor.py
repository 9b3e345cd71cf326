"""`framehost doctor`, where nothing is wrong, and what people read of it. What may be wrong: test_doctor_*.py."""

import json
import re
import shlex

import test_doctor_browsers
import test_doctor_hub
import test_doctor_machine
import test_doctor_settings
from conftest import REPO
from doctor import ID, OF_THE_MACHINE, check_case, each, ordinary, world

MODULES = [test_doctor_browsers, test_doctor_hub, test_doctor_settings, test_doctor_machine]
CASES = [case for module in MODULES for case in module.CASES]
# The same where files are another user's, or closed to their own.
ORDINARY_CASES = [case for module in MODULES for case in module.ORDINARY_CASES]
# What has a test of its own in one of these modules.
OTHERS = {"runtime_dir_full", "port_taken", "port_refused", "hub_version", "host_permissions", "cache_disk_full", "camera_permission", "run_by_sudo"}


@each(CASES)
def test_what_is_wrong_is_found_by_its_name_and_nothing_else_and_the_advice_mends_it(world, spoil, check, level, mend):
    check_case(world, spoil, check, level, mend)


@each(ORDINARY_CASES)
def test_what_is_not_the_users_is_found_and_the_advice_mends_it(ordinary, spoil, check, level, mend):
    check_case(ordinary, spoil, check, level, mend)


def test_a_healthy_installation_has_nothing_to_complain_about(world):
    assert world.findings() == {}
    before = sorted(world.hub.root.rglob("*"))
    world.hub.start()
    assert world.findings() == {}
    world.hub.stop()
    assert world.findings() == {}
    # The doctor leaves nothing behind.
    left = {path.name for path in set(world.hub.root.rglob("*")) - set(before)}
    known = {"hub.lock", "hub.log", "state", "caches", "config.json", "config.json.lock"}
    assert not left - known - {path for path in left if "." not in path}


def test_a_healthy_installation_of_an_ordinary_user_is_one_too(ordinary):
    assert ordinary.findings() == {}
    ordinary.hub.start()
    assert ordinary.findings() == {}


def test_people_read_what_to_do(world):
    world.edit(path="/nowhere/framehost")
    # The name will do where the shell finds this program by it, and no other.
    advice = f"install --root {world.root} --extension-id {ID}; "
    assert world.findings()["host_missing"]["advice"].startswith(f"{shlex.quote(str(world.program))} {advice}")
    world.hub.env["PATH"] = f"{world.program.parent}:{world.hub.env['PATH']}"
    done = world.doctor()
    assert done.returncode == 1
    assert "error" in done.stdout and "/nowhere/framehost" in done.stdout
    assert f"[host_missing] framehost {advice}" in done.stdout
    assert done.stdout.rstrip().splitlines()[-1].startswith("1 error, ")


def test_every_name_of_a_finding_is_in_the_documents_and_tested():
    rows = re.findall(r"^\| .* \| `(\w+)`: ", (REPO / "docs/doctor.md").read_text(), re.MULTILINE)
    documented = set(rows) - OF_THE_MACHINE
    tested = {check for _, check, _, _ in CASES + ORDINARY_CASES} | OTHERS
    assert documented == tested
