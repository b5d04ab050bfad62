"""Options of `edgekube run`: command line over file over defaults; wrong ones are refused in words."""

from pathlib import Path

import pytest

from edgekube import config
from edgekube.config import HELP, ConfigFailure, NodeConfig, load

BASE = ["--config", "{file}", "--node-name", "pi", "--node-ip", "198.51.100.7"]


def loaded(tmp_path: Path, text: str = "", *words: str) -> NodeConfig:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    return load([*(word.format(file=file) for word in BASE), *words])


def test_every_option_is_explained() -> None:
    assert set(HELP) == set(NodeConfig.__struct_fields__)


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    text = "max-pods: 20\ncluster-cidr: 10.99.0.0/16\ntls-san: pi.example\n"
    found = loaded(tmp_path, text, "--max-pods", "30", "--disable", "dns", "--disable", "cloud")
    assert (found.max_pods, found.cluster_cidr, found.tls_san) == (30, "10.99.0.0/16", ("pi.example",))
    assert found.disable == ("dns", "cloud")


def test_what_follows_from_the_networks(tmp_path: Path) -> None:
    found = loaded(tmp_path, "", "--service-cidr", "10.96.0.0/12", "--listen", "[::]:7443")
    assert (str(found.pod_cidr), found.dns_address) == ("10.42.0.0/24", "10.96.0.10")
    assert found.listen_address == ("::", 7443)
    assert found.node_ports == (30000, 32767)


def test_a_node_without_a_network_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "outward_address", lambda: "")
    assert loaded(tmp_path, "", "--node-ip", "").node_ip == "10.42.0.1"


@pytest.mark.parametrize(
    ("text", "words", "says"),
    [
        ("nonsense: 1", [], "unknown field `nonsense`"),
        ("max-pods: many", [], "max-pods"),
        ("- a list", [], "option: value"),
        ("a: [", [], "not YAML"),
        ("", ["--cluster-cidr", "10.0.0.0"], "cluster-cidr"),
        ("", ["--cluster-cidr", "10.43.0.0/16"], "overlap"),
        ("", ["--service-cidr", "10.43.0.0/30"], "16 addresses"),
        ("", ["--listen", "6443x"], "ADDRESS:PORT"),
        ("", ["--service-node-port-range", "5-1"], "FIRST-LAST"),
        ("", ["--node-name", "Not/a/name"], "DNS name"),
        ("", ["--node-ip", "here"], "not an address"),
        ("", ["--disable", "kubelet"], "no such role"),
        ("", ["--node-label", "zone"], "key=value"),
        ("", ["--node-label", "a b=c"], "qualified name|alphanumeric"),
        ("", ["--node-label", "zone=a b"], "label must|alphanumeric"),
        ("", ["--node-label", "node-role.kubernetes.io/worker=true"], "may not give itself"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: list[str], says: str) -> None:
    with pytest.raises(ConfigFailure, match=says.replace(".", r"\.")):
        loaded(tmp_path, text, *words)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigFailure, match="does not exist"):
        load(["--config", str(tmp_path / "none.yaml")])
