"""The files of the checkout, as the lint checks see them."""
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def files():
    """Paths relative to ROOT of all files that are tracked or would be; everything but build/ without git."""
    try:
        out = subprocess.run(
            ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        names = sorted(set(os.fsdecode(out).split("\0")) - {""})
    except (OSError, subprocess.CalledProcessError):
        names = sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*")
                       if path.is_file() and path.relative_to(ROOT).parts[0] not in ("build", ".git"))
    return [name for name in names if (ROOT / name).is_file()]


def c_files():
    return [name for name in files() if name.endswith((".c", ".h"))]
