"""Which peers there are, what each is built on, and a Python that has it.

The peers' packages are no part of the product or of its tests, and partly in conflict with them: they live in a virtual
environment of their own, in FOOTFALL_HOME, made when it is first needed.
"""

import hashlib
import json
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from footfall.errors import FootfallError

ROOT = Path(__file__).parents[2]
CONSTRAINTS = Path(__file__).parent / "constraints.txt"
INSTALL_TIMEOUT_S = 900.0


class Peer(Struct, frozen=True, kw_only=True):
    """`name` is its module in this package. `apart`: its packages are the peers' own. `commits`: to Kafka."""

    name: str
    packages: tuple[str, ...]
    apart: bool = False
    commits: bool = True
    floor: bool = False


PEERS = (
    Peer(name="footfall", packages=("faust-streaming", "aiokafka", "redis", "hiredis", "pyzmq", "msgspec", "uvloop")),
    Peer(name="stock_faust", packages=("faust-streaming", "mode-streaming", "aiokafka")),
    Peer(name="quix", packages=("quixstreams", "confluent-kafka"), apart=True),
    Peer(name="bytewax", packages=("bytewax", "confluent-kafka"), apart=True, commits=False),
    Peer(name="faststream", packages=("faststream", "aiokafka", "pydantic"), apart=True),
    Peer(name="aiokafka", packages=("aiokafka",), floor=True),
    Peer(name="confluent", packages=("confluent-kafka",), apart=True, floor=True),
    Peer(name="aiokafka_overlapped", packages=("aiokafka",), floor=True),
)


class PeersError(FootfallError):
    """The peers cannot be run here."""


def interpreter(home: Path) -> Path:
    """A Python that has the peers' packages; installs them if it must. Raises PeersError where that fails."""
    lock = CONSTRAINTS.read_bytes() + sys.version.encode()
    folder = home / f"peers-{hashlib.sha256(lock).hexdigest()[:12]}"
    python, done = folder / "bin" / "python", folder / "installed"
    if done.exists():
        return python
    install = [str(python), "-m", "pip", "install", "--quiet", "-c", str(CONSTRAINTS), *requirements()]
    print(f"installing the peers into {folder}", file=sys.stderr, flush=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=INSTALL_TIMEOUT_S)
        subprocess.run(install, check=True, timeout=INSTALL_TIMEOUT_S)
    except (subprocess.SubprocessError, OSError) as error:
        raise PeersError(
            f"the peers could not be installed ({error}). Run `{shlex.join(install)}` yourself in any environment, "
            "then name its Python with --python"
        ) from error
    done.touch()
    return python


def requirements() -> list[str]:
    """What the extra `peers` asks for, and what the loops of peers need of the product's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return [
        text for texts in (project["dependencies"], extras["agents"], extras["peers"])
        for text in texts if not text.startswith("footfall[")
    ]


def versions(python: Path, packages: Iterable[str]) -> dict[str, str]:
    """The versions that this Python has. Raises PeersError when one is missing."""
    wanted = sorted(set(packages))
    script = "import importlib.metadata as m, json, sys; print(json.dumps({p: m.version(p) for p in sys.argv[1:]}))"
    ran = subprocess.run([str(python), "-c", script, *wanted], capture_output=True, text=True, check=False)
    if ran.returncode:
        missing = ran.stderr.strip().rsplit("\n", 1)[-1]
        raise PeersError(
            f"{python} lacks a package ({missing}). Run: "
            f"{shlex.join([str(python), '-m', 'pip', 'install', '-c', str(CONSTRAINTS), *requirements()])}"
        )
    found: dict[str, str] = json.loads(ran.stdout)
    return found


def all_versions(peers: Sequence[Peer], apart: Path) -> dict[str, dict[str, str]]:
    """By peer, the versions of what it is built on."""
    return {
        peer.name: versions(apart if peer.apart else Path(sys.executable), peer.packages) for peer in peers
    }
