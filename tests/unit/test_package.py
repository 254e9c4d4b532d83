"""What is shipped: the package works away from its checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from anypop.cli import labs

ROOT = Path(__file__).parents[2]


def test_the_article_is_found_in_a_checkout_and_in_a_wheel(tmp_path: Path) -> None:
    """`anypop up` without a topology builds the same internet however Anypop was installed."""
    assert labs.article() == ROOT / "topologies" / "article.yaml"
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = tmp_path.glob("anypop-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "site")
    ask = "from anypop.cli import labs; print(labs.article())"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    told = subprocess.run(
        [sys.executable, "-c", ask], env=environment, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60
    )
    found = Path(told.stdout.strip())
    assert found.is_relative_to(tmp_path / "site")
    assert found.read_bytes() == labs.article().read_bytes()
