"""What the pages name is there: files, folders, headings, constants. Whether they are right is for a reader to say."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "tests" / "README.md", *(ROOT / "docs").glob("*.md")])
CODE = [path for folder in ("edgekube", "native", "bench", "tests") for path in (ROOT / folder).rglob("*.*")]
FILE = re.compile(r"[a-z_0-9/]+\.(?:py|c|h)")
CONSTANT = re.compile(r"\b[A-Z]+(?:_[A-Z]+)*_(?:MAX|MIN|DAYS|SECONDS)\b")


def slug(heading: str) -> str:
    """The anchor that GitHub and others make of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def spans(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        found = (page.parent / name).resolve() if name else page
        assert found.exists(), f"{target} is not there"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", found.read_text(), flags=re.M)
            assert anchor in map(slug, headings), f"{target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_named_are_there(page: Path) -> None:
    known = ["/" + str(path.relative_to(ROOT)) for path in [*CODE, ROOT / "build.py"]]
    for span in spans(page.read_text()):
        if FILE.fullmatch(span):
            assert any(path.endswith("/" + span) for path in known), f"{span} is not there"


def test_constants_named_are_there() -> None:
    code = "\n".join(path.read_text() for path in CODE if path.suffix in (".py", ".c", ".h"))
    defined = set(CONSTANT.findall(code))
    for page in PAGES:
        named = {name for span in spans(page.read_text()) for name in CONSTANT.findall(span)}
        assert named <= defined, f"{page.name}: {named - defined} are not there"
