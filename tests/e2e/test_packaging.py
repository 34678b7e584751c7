"""What is shipped beside the programs fits together: image, compose file, units, package lists, the command of the checkout."""
import fnmatch
import os
import pathlib
import re
import shlex
import shutil
import subprocess

import pytest
import yaml

from harness import BIN, ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())


def instructions():
    """(word, rest) of each instruction of the Dockerfile, continuation lines joined."""
    text = re.sub(r"\\\n", " ", DOCKERFILE)
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            word, _, rest = line.strip().partition(" ")
            yield word.upper(), rest.strip()


def sent_to_the_build(path):
    """Whether .dockerignore lets `path` through; the last rule that matches wins."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().split():
        rule = line.lstrip("!")
        if fnmatch.fnmatch(path.split("/")[0], rule) or fnmatch.fnmatch(path, rule):
            sent = line.startswith("!")
    return sent


def test_every_copied_path_exists_and_is_sent():
    stages, copied = set(), 0
    for word, rest in instructions():
        if word == "FROM":
            stages.add(rest.split()[-1])
        if word != "COPY":
            continue
        words = rest.split()
        if words[0].startswith("--from="):
            assert words[0][7:] in stages
            continue
        for path in words[:-1]:
            copied += 1
            assert (ROOT / path).exists(), f"COPY {path}: not there"
            assert sent_to_the_build(path), f"COPY {path}: kept back by .dockerignore"
    assert copied > 8


def test_the_image_does_not_depend_on_the_modes_of_the_checkout():
    """COPY keeps them, and a checkout made under umask 077 is closed to the user that the image runs as."""
    target, chmod, copied = None, [], []
    for word, rest in instructions():
        if word == "FROM":
            target = rest.split()[-1]
        elif word == "RUN" and target != "build":
            chmod += " ".join(re.findall(r"chmod 0[67][45]{2} [^&]*", rest)).split()
        elif word == "COPY" and target != "build" and not rest.startswith("--from="):
            copied.append(rest.split()[-1])
    assert len(copied) == 4
    assert not [path for path in copied if path not in chmod], chmod
    # Nor does what runs come out of a folder of the checkout.
    mounted = [volume for service in COMPOSE["services"].values() for volume in service.get("volumes", []) if volume.startswith("./")]
    assert {volume.split(":")[0] for volume in mounted} == {"./otad-root"}


def test_the_image_runs_without_root_and_without_compilers():
    stages = DOCKERFILE.split("\nFROM ")[1:]
    assert [stage.split("\n")[0].split()[-1] for stage in stages] == ["build", "broker", "otad"]
    for stage in stages[1:]:
        assert "\nUSER otad" in stage and "\nHEALTHCHECK" in stage
        assert len(re.findall(r"^VOLUME ", stage, re.M)) == 1
    depends = (ROOT / "packaging/depends").read_text()
    run = re.findall(r"^run (\S+)$", depends, re.M)
    assert run and not [name for name in run if name.endswith("-dev") or name in ("gcc", "cmake")]
    assert '$1 == "run"' in stages[2] and '$1 == "build"' not in stages[2]


def test_programs_find_their_libraries_in_the_list():
    """Every library the programs are linked with comes from a package in the run list, or from one of their dependencies."""
    listed = set(re.findall(r"^run (\S+)$", (ROOT / "packaging/depends").read_text(), re.M)) | {"libc6"}
    for program in ("otad", "otactl"):
        if not (BIN / program).exists():
            pytest.skip(f"skipped: no {program}")
        dynamic = subprocess.run(["readelf", "-d", BIN / program], stdout=subprocess.PIPE, check=True, text=True).stdout
        for name in re.findall(r"NEEDED.*\[(.*)\]", dynamic):
            if name.startswith(("libasan", "libubsan", "libtsan")):
                continue
            paths = [path for path in pathlib.Path("/usr/lib").glob(f"*/{name}")]
            assert paths, name
            # Debian's /lib is a link into /usr; packages name either.
            owners = subprocess.run(["dpkg", "-S", f"*/{name}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                    check=False, text=True).stdout
            found = {line.split(":")[0] for line in owners.splitlines()}
            assert found & listed, f"{program} needs {name} of {found}, not in the run list"


def test_compose_is_whole():
    services = COMPOSE["services"]
    assert set(services) == {"prepare", "broker", "otad"}
    targets = set(re.findall(r"^FROM .* AS (\w+)$", DOCKERFILE, re.M))
    for service in services.values():
        build = service.get("build")
        if isinstance(build, dict):
            assert build["target"] in targets
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source.startswith("./") or source in COMPOSE["volumes"]
        # Built here, never fetched; and nothing but its volumes is writable.
        assert build and "image" not in service
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
    published = {port.split(":")[0] for service in services.values() for port in service.get("ports", [])}
    assert published == {"1883", "8484", "8485"}
    assert "./otad-root:/otad-root" in services["otad"]["volumes"]
    assert "OTACTL_ROOT_DIR=/otad-root" in DOCKERFILE
    # The server's secrets come by file, and the broker's volume is not writable for it.
    assert services["otad"]["environment"]["OTAD_MQTT_PASSWORD_FILE"].startswith("/run/broker/")
    assert "broker:/run/broker:ro" in services["otad"]["volumes"]


def test_settings_of_the_compose_file_are_known(tmp_path):
    """otad takes every variable that the image and the compose file give it."""
    if not (BIN / "otad").exists():
        pytest.skip("skipped: no otad")
    env = {}
    for word, rest in instructions():
        if word == "ENV":
            env.update(pair.split("=", 1) for pair in shlex.split(rest))
    env.update(COMPOSE["services"]["otad"]["environment"])
    env = {name: re.sub(r"\$\{\w+:-(\w+)\}", r"\1", value) for name, value in env.items()}
    for name in [name for name in env if name.endswith("_PASSWORD_FILE")]:
        (tmp_path / name).write_text("secret\n")
        env[name] = str(tmp_path / name)
    env["OTAD_DATA"] = str(tmp_path)
    known = subprocess.run([BIN / "otad", "--help"], stdout=subprocess.PIPE, check=True, text=True).stdout
    for name in env:
        if name.startswith("OTAD_"):
            assert f"--{name[5:].lower().replace('_', '-')} " in known, f"{name} is no setting of otad"
    checked = subprocess.run([BIN / "otad", "--check-config"], env={**os.environ, **env}, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, check=False, text=True)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name,exposure", [("otad", 1.5), ("ota-agent", 9.0)])
def test_unit(tmp_path, name, exposure):
    text = (ROOT / f"packaging/systemd/{name}.service").read_text()
    assert "NoNewPrivileges=yes" in text and "Restart=" in text
    unit = tmp_path / f"{name}.service"
    unit.write_text(text.replace("@CMAKE_INSTALL_FULL_BINDIR@", "/usr/bin"))
    assert "@" not in re.sub(r"=~?@\w+|@resources", "", unit.read_text())
    if shutil.which("systemd-analyze"):  # where there is systemd its own judgement counts too
        said = subprocess.run(["systemd-analyze", "security", "--offline=true", unit], stdout=subprocess.PIPE, check=False,
                              text=True).stdout
        assert float(re.search(r"exposure level for \S+: ([\d.]+)", said).group(1)) <= exposure, said
        program = tmp_path / name
        program.touch(0o755)
        unit.write_text(text.replace("@CMAKE_INSTALL_FULL_BINDIR@", str(tmp_path)))
        said = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False, text=True)
        assert said.returncode == 0 and not said.stdout, said.stdout


def dev(*args, env=None):
    return subprocess.run([ROOT / "dev", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, text=True,
                          env={**os.environ, **(env or {})})


def test_dev_lists_its_commands():
    listed = dev()
    assert listed.returncode == 0
    for word in "demo test build fuzz bench image fmt lint long clean".split():
        assert re.search(rf"^  {word}\b", listed.stdout, re.M), word


@pytest.mark.parametrize("args", [["nonsense"], ["test", "--only", "nothing"], ["test", "--what"], ["test", "--only"],
                                  ["long", "R999"], ["long", "../../etc/passwd"], ["long", "*"], ["fuzz", "long"],
                                  ["fuzz", "1", "2"], ["lint", "--what"],
                                  *[[word, "nonsense"] for word in ("demo", "build", "image", "fmt", "clean")]])
def test_dev_refuses_wrong_use(args):
    refused = dev(*args)
    assert refused.returncode == 2, refused
    assert refused.stderr.strip().splitlines()[-1].startswith("dev: ")


def test_dev_help_of_a_command_does_nothing():
    for word in "demo test build fuzz bench image fmt lint long clean".split():
        for flag in ("--help", "-h"):
            told = dev(word, flag)
            assert told.returncode == 0 and told.stdout == dev().stdout, (word, told)


def test_packages_refuses_an_unknown_role():
    for command in ("ensure", "missing", "sizes", "install"):
        refused = subprocess.run([ROOT / "packaging/packages", command, "nonsense"], stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, check=False, text=True)
        assert refused.returncode == 1 and "no such role" in refused.stderr


def test_who_may_not_install_is_told_the_line(tmp_path):
    """Nobody is root or has sudo here, and the line can be pasted: the checkout's name has a space."""
    packages = tmp_path / "a checkout/packages"
    packages.parent.mkdir()
    shutil.copy(ROOT / "packaging/packages", packages)
    (packages.parent / "depends").write_text("build no-such-package-of-otad\n")
    stubs = tmp_path / "bin"
    stubs.mkdir()
    for name, text in (("id", "echo 1000"), ("sudo", "exit 1")):
        (stubs / name).write_text(f"#!/bin/sh\n{text}\n")
        (stubs / name).chmod(0o755)
    told = subprocess.run([packages, "ensure", "build"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          check=False, text=True, env={**os.environ, "PATH": f"{stubs}:{os.environ['PATH']}"})
    assert told.returncode == 1 and "no-such-package-of-otad" in told.stderr, told
    assert shlex.split(told.stderr.splitlines()[-1]) == [str(packages), "install", "build"]


def test_every_package_has_a_role_that_is_known():
    known = {"build", "test", "lint", "demo", "fuzz", "bench", "image", "run"}
    for line in (ROOT / "packaging/depends").read_text().splitlines():
        if line and not line.startswith("#"):
            role, package = line.split()
            assert role in known and re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", package)


def test_install(tmp_path):
    if any(not (BIN / name).exists() for name in ("otad", "otactl", "ota-agent")):
        pytest.skip("skipped: programs missing")
    subprocess.run(["cmake", "--install", BIN.parent, "--prefix", tmp_path], check=True, stdout=subprocess.PIPE)
    have = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    for path in ("bin/otad", "bin/otactl", "bin/ota-agent", "lib/systemd/system/otad.service", "lib/sysusers.d/otad.conf",
                 "lib/systemd/system/ota-agent.service", "share/bash-completion/completions/otactl",
                 "share/man/man8/otad.8", "share/man/man5/otad.conf.5", "share/man/man1/otactl.1",
                 "share/man/man1/ota-agent.1", "etc/otad/otad.conf", "share/doc/otad/mosquitto/otad.acl", "share/doc/otad/LICENSE"):
        assert path in have, f"{path} is not installed: {sorted(have)}"
    assert "@" not in re.sub(r"=~?@\w+|@resources", "", (tmp_path / "lib/systemd/system/otad.service").read_text())
    assert not [path for path in have if path.endswith((".a", ".h"))]


def test_settings_of_the_service(tmp_path):
    """Installed as they are they serve this machine alone; every line that is commented out is one that otad takes; what an
    operator made of them is kept."""
    if not (BIN / "otad").exists():
        pytest.skip("skipped: no otad")
    env = {**os.environ, "DESTDIR": str(tmp_path)}
    unit = (ROOT / "packaging/systemd/otad.service").read_text()
    path = re.search(r"--config (\S+)", unit).group(1)

    def install(prefix):
        subprocess.run(["cmake", "--install", BIN.parent, "--component", "server", "--prefix", prefix], check=True, env=env,
                       stdout=subprocess.PIPE)

    def check(text):
        file = tmp_path / "checked.conf"
        file.write_text(text)
        return subprocess.run([BIN / "otad", "--data", tmp_path, "--config", file, "--check-config"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False, text=True)

    for prefix in ("/usr", "/usr/local"):
        install(prefix)
        placed = pathlib.Path(f"{tmp_path}{path}")
        text = placed.read_text()
        assert placed.stat().st_mode & 0o777 == 0o644
        assert check(text).returncode == 0, check(text).stdout
        assert not re.findall(r"^[^#\[\n]", text, re.M), "something is set"
        for password in re.findall(r"(/etc/otad/\S+\.(?:password|pem))$", text, re.M):
            text = text.replace(password, str(tmp_path / "secret"))
        (tmp_path / "secret").write_text("secret\n")
        opened = check(re.sub(r"^#(?=[a-z-]+ = )", "", text, flags=re.M))
        assert opened.returncode == 0, opened.stdout
        placed.write_text("[server]\nlog-level = debug\n")
        install(prefix)
        assert placed.read_text() == "[server]\nlog-level = debug\n"
        placed.unlink()
    install("/opt/otad")
    assert not placed.exists() and (tmp_path / "opt/otad/etc/otad/otad.conf").exists()


@pytest.mark.parametrize("name", sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"),
                                                                                *ROOT.glob("device-agent/*.md")]))
def test_links_of_the_documents(name):
    for target in re.findall(r"\]\(([^)#\s]+)", (ROOT / name).read_text()):
        if not re.match(r"\w+:", target):
            assert ((ROOT / name).parent / target).exists(), f"{name} links to {target}"
