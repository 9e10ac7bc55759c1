"""Builds the wheel and the sdist, looks into both, and verifies each from an environment that holds nothing else.

python tools/check_distributions.py            environments made anew, with what pip fetches
python tools/check_distributions.py --offline  the packages of this environment stand in for those
python tools/check_distributions.py --out dist keeps what was built
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOT_SHIPPED = (".gitignore", ".ci/", ".gpu/")
"""Files under version control that a source distribution can do without."""
LIBRARY = ("portgnn/", "backends/")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--offline", action="store_true")
    parser.add_argument("--out", type=Path, metavar="FOLDER")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.out or Path(scratch) / "dist"
        wheel, sdist = build(folder, isolated=not given.offline)
        for path in (wheel, sdist):
            print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
        faults = missing(wheel, sdist)
        for path in () if faults else (wheel, sdist):
            faults += verify(path, Path(scratch) / path.suffix[1:], offline=given.offline)
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


def build(folder: Path, *, isolated: bool) -> tuple[Path, Path]:
    """The wheel, built from the sdist as an index's users would, and the sdist."""
    _run([sys.executable, "-m", "build", "--outdir", str(folder), *([] if isolated else ["--no-isolation"]), str(ROOT)])
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def missing(wheel: Path, sdist: Path) -> list[str]:
    """What git tracks and a distribution lacks, and what a wheel holds that is not the library's."""
    tracked = _run(["git", "-C", str(ROOT), "ls-files", "-z"]).split("\0")
    present = {name for name in tracked if name and (ROOT / name).exists()}
    with tarfile.open(sdist) as archive:
        shipped = {name.partition("/")[2] for name in archive.getnames()}
    with zipfile.ZipFile(wheel) as file:
        installed = {name for name in file.namelist() if ".dist-info/" not in name}
    wanted = {name.removeprefix("backends/") for name in present if name.startswith(LIBRARY)}
    tops = {name.partition("/")[0] for name in wanted}
    return [
        *(f"{sdist.name} lacks {name}" for name in sorted(present - shipped) if not name.startswith(NOT_SHIPPED)),
        *(f"{wheel.name} lacks {name}" for name in sorted(wanted - installed)),
        *(f"{wheel.name} holds {name}" for name in sorted(installed) if name.partition("/")[0] not in tops),
    ]


def verify(distribution: Path, folder: Path, *, offline: bool) -> list[str]:
    """Installs a distribution into an environment of its own and verifies the reference backend there."""
    venv.create(folder, with_pip=not offline)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if offline:
        site = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
        pip = [sys.executable, "-m", "pip", "install", "--no-index", "--no-build-isolation", "--no-deps"]
        _run([*pip, "--quiet", "--target", site, str(distribution)])
        # After the environment's own packages: the portgnn that is found is the one just installed.
        (Path(site) / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    else:
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(distribution)])
    code = "import portgnn; print(portgnn.__file__)"
    where = _run([str(python), "-c", code], away=folder).strip()
    if not Path(where).resolve().is_relative_to(folder.resolve()):
        return [f"{distribution.name}: portgnn was imported from {where}"]
    done = subprocess.run(
        [str(python), "-m", "portgnn", "verify", "--backend", "numpy"], cwd=folder, capture_output=True, text=True
    )
    print(f"{distribution.name}: {done.stdout.strip().splitlines()[-1] if done.stdout else done.stderr}")
    return [] if done.returncode == 0 else [f"{distribution.name} fails verification:\n{done.stdout}{done.stderr}"]


def _run(command: list[str], away: Path | None = None) -> str:
    """What a command prints; raises SystemExit with all that it said where it fails."""
    done = subprocess.run(command, cwd=away, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
