"""Backups, restores and databases of former schemas."""
import os
import subprocess

import harness

DATA = harness.ROOT / "tests/data"
PASSPHRASE = "kept for those to come"


def otad_command(folder, *args):
    """A subcommand of otad, run to its end."""
    return subprocess.run([harness.BIN / "otad", *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, timeout=120 * harness.PATIENCE,
                          env={**os.environ, **harness.sanitizer_env(folder, f"otad-{args[0]}")})


def secret_file(folder):
    path = folder / "passphrase"
    path.write_text(PASSPHRASE + "\n")
    path.chmod(0o600)
    return path


def backup(fleet, archive):
    """All of it, keys too, while it runs."""
    done = otad_command(fleet.folder, "backup", "--with-keys", "--passphrase-file", secret_file(fleet.folder), archive, "--data",
                        fleet.otad.data)
    assert done.returncode == 0, done.stdout


def restore(folder, archive, data):
    done = otad_command(folder, "restore", "--passphrase-file", secret_file(folder), archive, "--data", data)
    assert done.returncode == 0, done.stdout


def facts(api):
    """What an operator sees, without what another program may say in other words."""
    def pick(rows, *names):
        return [{name: row[name] for name in names} for row in rows]

    devices = []
    for row in api.every("/v1/devices"):
        task = row["assignment"] or {}
        devices.append({**pick([row], "id", "name", "board", "state", "hold", "tags")[0],
                        "running": (row["running"] or {}).get("digest"), "assignment": [task.get("version"), task.get("state")]})
    return {
        "boards": pick(api.every("/v1/boards"), "name", "chip", "vendor_id", "class_id"),
        "images": pick(api.every("/v1/images"), "sha256", "size", "format", "version", "damaged"),
        "releases": pick(api.every("/v1/releases"), "id", "digest", "sequence", "state"),
        "rollouts": pick(api.every("/v1/rollouts"), "id", "release", "selector", "targets", "state"),
        "devices": sorted(devices, key=lambda row: row["id"]),
    }
