import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.runtime.api import ImageFailure
from edgekube.runtime.images import reference

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("library/busybox", "docker.io/library/busybox:latest"),
        ("team/app", "docker.io/team/app:latest"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/team/app", "docker.io/team/app:latest"),
        ("ghcr.io/a/b/c:v1", "ghcr.io/a/b/c:v1"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("reg:5000/app:2", "reg:5000/app:2"),
        ("Reg/app", "Reg/app:latest"),
        ("[2001:db8::1]:5000/app", "[2001:db8::1]:5000/app:latest"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}"),
        (f"busybox:1@{DIGEST}", f"docker.io/library/busybox:1@{DIGEST}"),
        ("a__b/c--d.e", "docker.io/a__b/c--d.e:latest"),
        ("x:Tag_1.2-3", "docker.io/library/x:Tag_1.2-3"),
    ],
)
def test_normalised(text: str, normal: str) -> None:
    parsed = reference.parse(text)
    assert str(parsed) == normal
    assert reference.parse(normal) == parsed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 'couldn\'t parse image name "": invalid reference format'),
        ("nginx:", 'couldn\'t parse image name "nginx:": invalid reference format'),
        ("ngi nx", 'couldn\'t parse image name "ngi nx": invalid reference format'),
        (
            "NGINX",
            'couldn\'t parse image name "NGINX": invalid reference format: repository name must be lowercase',
        ),
        ("a//b", 'couldn\'t parse image name "a//b": invalid reference format'),
        ("a@sha256:12", 'couldn\'t parse image name "a@sha256:12": invalid reference format'),
        ("-a", 'couldn\'t parse image name "-a": invalid reference format'),
        ("a:" + "t" * 129, "invalid reference format"),
        ("a/" + "b" * 260, "repository name must not be more than 255 characters"),
        ("f" * 64, "cannot specify 64-byte hexadecimal strings"),
        ("a@md5:" + "0" * 32, "unsupported digest algorithm"),
        ("a@sha256:" + "0" * 40, "invalid checksum digest length"),
        ("https://example.com/a", "invalid reference format"),
        ("a\nb", r'couldn\'t parse image name "a\nb": invalid reference format'),
    ],
)
def test_refused(text: str, words: str) -> None:
    with pytest.raises(ImageFailure) as caught:
        reference.parse(text)
    assert caught.value.reason == "InvalidImageName"
    assert words.replace("\\'", "'") in str(caught.value)


@given(st.text(max_size=80) | st.text("aA0._-/:@[]sha256", max_size=100))
def test_anything_is_parsed_or_refused(text: str) -> None:
    try:
        parsed = reference.parse(text)
    except ImageFailure:
        return
    assert reference.parse(str(parsed)) == parsed
    assert "\n" not in str(parsed)


WORD = st.from_regex(r"\A[a-z0-9]{1,10}\Z")


@given(
    host=st.sampled_from(["docker.io", "ghcr.io", "localhost:5000", "10.0.0.1", "[::1]:5000"]),
    path=st.lists(WORD, min_size=2, max_size=4),
    tag=st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}\Z"),
)
def test_what_is_made_of_valid_parts_is_read_back(host: str, path: list[str], tag: str) -> None:
    parsed = reference.parse(f"{host}/{'/'.join(path)}:{tag}")
    assert (parsed.host, parsed.path, parsed.tag) == (host, "/".join(path), tag)


def test_image_ids() -> None:
    assert reference.image_id("a" * 64) == DIGEST
    assert reference.image_id(DIGEST) == DIGEST
    assert reference.image_id("busybox") is None
    assert reference.image_id("sha256:abc") is None
