"""The protobuf tables are those of the pinned kubectl."""

from edgekube.apiserver.protobuf import generate


def test_tables_are_up_to_date() -> None:
    texts = generate.texts(generate.KUBECTL)
    assert len(texts) >= 20
    for path, text in texts.items():
        assert path.read_text() == text, f"{path.name} is out of date: run `python -m {generate.__name__}`"
