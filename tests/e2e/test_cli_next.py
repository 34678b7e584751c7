"""What otactl says to do next, where a new user would not know."""
import hashlib
import http.server
import json
import os
import re
import subprocess
import threading

import pytest

import harness
from api import Api
from harness import BIN, PASSPHRASE, programs_missing, wait_for
from terminal import on_terminal

pytestmark = pytest.mark.skipif(bool(programs_missing("otad", "otactl", "ota-agent")), reason="skipped: programs missing")


def test_init_offline_says_that_nothing_signs_with_its_key(bare, folder):
    home = folder / "home"
    home.mkdir(exist_ok=True)
    env = {**bare.ctl.env, "HOME": str(home), "OTACTL_PASSPHRASE": PASSPHRASE}
    argv = [BIN / "otactl", "init", "--offline"]
    alone = bare.ctl.run("init", "--offline", env=env, code=2)
    assert "no command that signs" in alone.err and "-y does it unasked" in alone.err, repr(alone)
    no = on_terminal(argv, [("Go on all the same? [y/N] ", "n")], env=env)
    assert no.code == 1 and "not done" in no.out and not list(home.glob(".otad-root/*")), repr(no)
    assert on_terminal(argv, [("Go on all the same? [y/N] ", "y")], env=env).code == 0
    bare.ctl("board", "add", "lamp", "--chip", "esp32c3")
    bare.ctl("push", bare.image("1.0.0"))
    bare.add(1)
    refused = bare.ctl.run("push", bare.image("1.0.0"), "--all", code=1)
    assert "is a draft" in refused.err and "no command that signs with one kept elsewhere" in refused.err, repr(refused)


def test_a_short_passphrase_is_asked_for_again(bare, folder):
    env = {**bare.ctl.env, "HOME": str(folder)}
    env.pop("OTACTL_PASSPHRASE", None)
    argv = [BIN / "otactl", "init", "--key", folder / "root.pem"]
    prompt = "passphrase for the new root key: "
    none = on_terminal(argv, [(prompt, "short"), (prompt, "")], env=env)
    assert none.code == 2 and "nothing was done" in none.out and not (folder / "root.pem").exists(), repr(none)
    done = on_terminal(argv, [(prompt, "short"), (prompt, "long enough"), ("once more: ", "long enough")], env=env)
    assert done.code == 0 and "at least 8" in done.out and (folder / "root.pem").exists(), repr(done)


def test_a_push_on_hold_says_what_lets_it_install(fleet):
    fleet.add(1)
    held = fleet.ctl("push", fleet.image("1.0.0"), "--all", "--hold")
    push = fleet.ctl.json("rollout", "list")[0]["id"][:8]
    assert f"let it install: otactl rollout unhold {push}" in held.err, repr(held)
    assert "open, on hold" in fleet.ctl("status").out and "open, on hold" in fleet.ctl("rollout", "list").out
    again = fleet.ctl.start("push", fleet.image("2.0.0"), "--all", "--hold", "--wait", "--timeout", "100s")
    wait_for("it to say what it waits for", lambda: ", which is waited for: otactl rollout unhold " in again.text(), alive=[again])
    newest = next(row for row in fleet.ctl.json("rollout", "list") if row["version"] == "2.0.0")
    assert "no longer on hold" in fleet.ctl("rollout", "unhold", newest["id"]).out
    assert again.wait(60) == 0, again.tail(9)
    assert "on hold" not in fleet.ctl("rollout", "list").out.splitlines()[1]


def test_status_says_what_tries_a_failed_push_again(fleet, folder):
    verdict = folder / "verdict"
    verdict.write_text("0")
    fleet.add(2, args=["--exec", f"exit $(cat {verdict})"])
    fleet.ctl("push", fleet.image("1.0.0"), "--all", "--wait", "--timeout", "100s")
    assert "otactl retry" not in fleet.ctl("status").out
    verdict.write_text("1")
    assert fleet.ctl.run("push", fleet.image("2.0.0"), "--all", "--wait", "--timeout", "100s").code == 1
    push = next(row["id"] for row in fleet.ctl.json("rollout", "list") if row["version"] == "2.0.0")[:8]
    assert f"! push {push}: 2 reverted; once that is mended: otactl retry {push}\n" in fleet.ctl("status").out
    offered = subprocess.run([BIN / "otactl", "--complete=", "retry"], capture_output=True, text=True, check=True, env=fleet.ctl.env)
    assert offered.stdout.split() == [push]
    assert "add --wait" in fleet.ctl.run("retry", push, "--timeout", "60s", code=2).err
    verdict.write_text("0")
    assert "2 of 2 seen running it" in fleet.ctl("retry", push, "--wait", "--timeout", "100s").out
    assert "nothing to offer again" in fleet.ctl.run("retry", push, "--wait", code=1).err
    wait_for("nothing to be left to try", lambda: "otactl retry" not in fleet.ctl("status").out)


def test_a_retry_waits_for_those_that_it_retries(fleet, folder):
    """One of the push's devices has something else to do by now: what is offered again is all that is waited for."""
    verdict = folder / "verdict"
    verdict.write_text("1")
    fleet.add(2, args=["--exec", f"exit $(cat {verdict})"])[0].stop()
    push = fleet.ctl.json("push", fleet.image("1.0.0"), "--all")[0]["id"]
    wait_for("one to be ill", lambda: fleet.ctl.json("rollout", "show", push)["counts"]["failed"] == 1, 60)
    fleet.ctl("push", fleet.image("2.0.0"), "--to", "lamp-0")
    verdict.write_text("0")
    done = fleet.ctl("retry", push, "--wait", "--timeout", "100s")
    assert "1 of 1 seen running it" in done.out and "was superseded" not in done.err, repr(done)


def test_an_upload_that_was_cut_goes_on(bare, folder):
    bare.init()
    bare.board()
    image = bare.image("1.0.0", size=3_000_000)
    body = image.read_bytes()
    part = bare.otad.data / "blobs" / "tmp" / f"{hashlib.sha256(body).hexdigest()}.part"
    connection = Api(bare.otad).open()
    connection.putrequest("PUT", f"/v1/images/{hashlib.sha256(body).hexdigest()}")
    connection.putheader("Content-Length", str(len(body)))
    connection.putheader("Authorization", f"Bearer {bare.token()}")
    connection.endheaders()
    connection.send(body[:2_000_000])
    wait_for("bytes on the disk", lambda: part.exists() and part.stat().st_size > 500_000)
    bare.otad.kill9()
    connection.close()
    bare.otad.start()
    said = bare.ctl("push", image).err
    at = int(re.search(r"upload: goes on at byte (\d+)\n", said)[1])
    assert 500_000 < at <= 2_000_000, said


def test_a_server_that_ends_during_an_upload(folder):
    """Its second answer to the upload is none at all."""
    class Dying(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            lists = {"/v1/boards": {"items": [{"name": "lamp", "chip": "esp32c3", "components": [{"name": "app", "slot_size": 0}]}]},
                     "/v1/server": {"root_version": 1}}
            body = json.dumps(lists.get(self.path.split("?")[0], {"items": []})).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_HEAD(self):
            self.send_response(404)
            self.end_headers()

        def do_PUT(self):
            self.rfile.read(1000)
            self.server.socket.close()  # whoever comes now is refused
            self.close_connection = True
            threading.Thread(target=self.server.shutdown).start()

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Dying)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    (folder / "a.bin").write_bytes(harness.esp32_image("1.0.0", "lamp", "esp32c3", 200_000))
    env = {"OTACTL_URL": f"http://127.0.0.1:{server.server_port}", "OTACTL_TOKEN": "x", "HOME": str(folder)}
    done = subprocess.run([BIN / "otactl", "push", folder / "a.bin"], capture_output=True, text=True, check=False,
                          env={**os.environ, **env}, timeout=60)
    thread.join()
    assert done.returncode == 1 and "        run the same push again: it goes on with what has arrived\n" in done.stderr, done


def test_a_replacement_that_has_not_enrolled(fleet, folder):
    fleet.add(1)
    fleet.ctl("provision", "--board", "lamp", "--name", "porch2", "-o", folder / "porch2.prov")
    early = fleet.ctl.run("device", "replace", "lamp-0", "porch2", code=1).err
    assert "'porch2' is provisioned and has not enrolled yet" in early and "start it" in early, early
    assert "there is no device 'porch3'" in fleet.ctl.run("device", "replace", "lamp-0", "porch3", code=1).err


def test_small_slips(fleet):
    slip = fleet.ctl.run("device", "tag", "lamp-0", "-outdoor", code=2).err
    assert "unknown option '-outdoor'" in slip and "otactl device tag ... -- -outdoor" in slip, slip
    assert "did you mean lamp?" in fleet.ctl.run("push", f"limp:{fleet.image('1.0.0')}", code=1).err
    login = fleet.ctl.run("login", f"http://127.0.0.1:{harness.free_port()}", env={"OTACTL_TOKEN": "x"}, code=1).err
    assert "(as given)" in login and "--url" not in login, login


def test_words_that_are_the_second_of_a_command():
    def err(*words):
        return subprocess.run([BIN / "otactl", *words], capture_output=True, text=True, check=False).stderr

    assert err("unhold", "1234") == "otactl: unknown command 'unhold'; did you mean 'device unhold' or 'rollout unhold'?\n"
    assert "did you mean 'device approve'?" in err("approve")
    assert err("list") == "otactl: unknown command 'list'; see: otactl --help\n"
    assert "did you mean 'push'?" in err("psuh")
    usage = [subprocess.run([BIN / "otactl", word], capture_output=True, text=True, check=True).stdout for word in ("help", "--help")]
    assert usage[0] == usage[1] != ""
