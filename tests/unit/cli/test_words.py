"""From what is typed to what is meant, without a node."""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from edgekube.cli import main as entry
from edgekube.cli import marks, wait
from edgekube.cli.api import path_of, quote, target
from edgekube.cli.arguments import parser
from edgekube.cli.completion import bash, fish, words_of_verbs, zsh
from edgekube.cli.errors import CliError, UsageError
from edgekube.cli.generators import GENERATORS
from edgekube.cli.images import progress, shown_size
from edgekube.cli.manifests import read
from edgekube.cli.pods import rank
from edgekube.cli.portforward import parse_port
from edgekube.cli.rollout_state import rollout_state
from edgekube.types.resources import find


@pytest.mark.parametrize(
    ("words", "verb", "rest"),
    [
        (["get", "pods"], "get", ["pods"]),
        (["-n", "x", "get", "pods"], "get", ["pods", "-n", "x"]),
        (
            ["--socket=/s", "--namespace", "x", "logs", "p", "-f"],
            "logs",
            ["p", "-f", "--socket=/s", "--namespace", "x"],
        ),
        (["-n", "x", "exec", "p", "--", "-n"], "exec", ["p", "-n", "x", "--", "-n"]),
        ([], "", []),
        (["--help"], "--help", []),
    ],
)
def test_options_may_stand_before_the_verb(words: list[str], verb: str, rest: list[str]) -> None:
    assert entry.split_verb(words) == (verb, rest)


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(re.search(rf"^  {verb}\s", text, re.MULTILINE) for verb in entry.VERBS)


def test_an_unknown_verb_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main(["gte"]) == 2
    assert "unknown command 'gte'" in capsys.readouterr().err
    assert entry.main(["--socket", "/x", "run", "web"]) == 2
    assert "'run' takes no options before it: edgekube run" in capsys.readouterr().err


def test_no_node_is_said_with_what_to_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert entry.main(["get", "pods", "--socket", str(tmp_path / "none")]) == 1
    assert "sudo edgekube run" in capsys.readouterr().err


@pytest.mark.parametrize("verb", [verb for verb, (module, _) in entry.VERBS.items() if module])
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        entry.main([verb, "--help"])
    assert ended.value.code == 0
    assert f"usage: edgekube {verb}" in capsys.readouterr().out


def test_names_may_stand_between_options() -> None:
    made = parser("get", "")
    import_module("edgekube.cli.get").configure(made)
    args = made.parse_intermixed_args(["pods", "-n", "x", "web", "-o", "yaml", "db"])
    assert (args.what, args.namespace, args.output) == (["pods", "web", "db"], "x", "yaml")


def test_paths() -> None:
    pods, deployments, nodes = find("po")[0], find("deploy")[0], find("no")[0]
    assert path_of(pods, "x") == "/api/v1/namespaces/x/pods"
    assert path_of(pods) == "/api/v1/pods"
    assert path_of(deployments, "x", "web", "scale") == "/apis/apps/v1/namespaces/x/deployments/web/scale"
    assert path_of(nodes, "x", "n") == "/api/v1/nodes/n"
    assert path_of(pods, "x", "a/../b") == "/api/v1/namespaces/x/pods/a%2F..%2Fb"
    assert target("/p", {"a": "b c&d", "none": "", "n": 1}) == "/p?a=b%20c%26d&n=1"
    assert quote("ü~") == "%C3%BC~"


@pytest.mark.parametrize(
    ("text", "port"), [("80", (80, "80")), ("8080:80", (8080, "80")), (":80", (0, "80")), ("http", (0, "http"))]
)
def test_ports(text: str, port: tuple[int, str]) -> None:
    assert parse_port(text) == port


@pytest.mark.parametrize("text", ["", "x:80", "99999", "80:", "80:70000", "0"])
def test_bad_ports(text: str) -> None:
    with pytest.raises(UsageError):
        parse_port(text)


def test_label_changes() -> None:
    words, texts = marks.split(["pods", "a", "b", "x=1", "y-"])
    assert words == ["pods", "a", "b"]
    assert marks.parse(texts) == {"x": "1", "y": None}
    with pytest.raises(UsageError):
        marks.parse(["x=1", "x-"])


def test_conditions_to_wait_for() -> None:
    condition = {"type": "Ready", "status": "True"}
    ready = {"metadata": {"generation": 2}, "status": {"conditions": [condition], "phase": "Running"}}
    stale = {"metadata": {"generation": 2}, "status": {"conditions": [{**condition, "observedGeneration": 1}]}}
    assert wait.check_of("condition=ready")(ready)
    assert not wait.check_of("condition=Ready=False")(ready)
    assert not wait.check_of("condition=Ready")(stale)
    assert wait.check_of("jsonpath={.status.phase}=Running")(ready)
    assert not wait.check_of("jsonpath={.status.phase}=Pending")(ready)
    assert wait.check_of('jsonpath={.status.conditions[?(@.type=="Ready")].status}=True')(ready)
    assert wait.check_of("jsonpath=.status.phase")(ready)
    assert wait.check_of("delete")(None)
    assert not wait.check_of("create")(None)
    with pytest.raises(UsageError):
        wait.check_of("ready")


@pytest.mark.parametrize(
    ("status", "message", "done"),
    [
        ({"observedGeneration": 1}, "Waiting for deployment spec update to be observed...", False),
        ({"updatedReplicas": 1}, "1 out of 3 new replicas have been updated...", False),
        ({"updatedReplicas": 3, "replicas": 4}, "1 old replicas are pending termination...", False),
        (
            {"updatedReplicas": 3, "replicas": 3, "availableReplicas": 2},
            "2 of 3 updated replicas are available...",
            False,
        ),
        ({"updatedReplicas": 3, "replicas": 3, "availableReplicas": 3}, "successfully rolled out", True),
    ],
)
def test_rollouts(status: dict[str, int], message: str, done: bool) -> None:
    obj = {
        "metadata": {"name": "x", "generation": 2},
        "spec": {"replicas": 3},
        "status": {"observedGeneration": 2, **status},
    }
    state = rollout_state("Deployment", obj)
    assert state.message.endswith(message)
    assert state.done is done


def test_a_rollout_past_its_deadline_has_failed() -> None:
    conditions = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
    obj = {"metadata": {"name": "x"}, "spec": {}, "status": {"conditions": conditions}}
    assert rollout_state("Deployment", obj).failed


def generated(*words: str) -> dict[str, object]:
    made = parser("create", "")
    import_module("edgekube.cli.create").configure(made)
    args = made.parse_args(words)
    args.after_dashes = None
    result: dict[str, object] = args.make(args)
    return result


def test_generators(tmp_path: Path) -> None:
    file = tmp_path / "app.conf"
    file.write_bytes(b"\xff\x00")
    assert generated("ns", "x") == {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}}
    made = generated("cm", "c", "--from-literal=a=b=c", f"--from-file={file}", f"--from-file=k={file}")
    assert made["data"] == {"a": "b=c"}
    assert made["binaryData"] == {"app.conf": "/wA=", "k": "/wA="}
    assert generated("secret", "generic", "s", "--from-literal=k=v")["data"] == {"k": "dg=="}
    deployment = generated("deploy", "web", "--image=r.example/team/nginx:1.2", "--replicas=2", "--port=80", "-n", "y")
    spec = deployment["spec"]
    assert isinstance(spec, dict)
    assert spec["template"]["spec"]["containers"] == [
        {"name": "nginx", "image": "r.example/team/nginx:1.2", "ports": [{"containerPort": 80}]}
    ]
    with pytest.raises(UsageError, match="already exists"):
        generated("cm", "c", "--from-literal=a=1", "--from-literal=a=2")


def test_every_generator_makes_a_known_kind() -> None:
    assert all(find(name) for name in GENERATORS)


def test_manifests_are_read_from_folders(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("kind: A\napiVersion: v1\n---\n# nothing\n---\nkind: B\napiVersion: v1\n")
    (tmp_path / "a.json").write_text(
        '{"kind": "List", "apiVersion": "v1", "items": [{"kind": "C", "apiVersion": "v1"}]}'
    )
    (tmp_path / "ignored.txt").write_text("x")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "d.yml").write_text("kind: D\napiVersion: v1\n")
    assert [each.obj["kind"] for each in read([str(tmp_path)])] == ["C", "A", "B"]
    assert [each.obj["kind"] for each in read([str(tmp_path)], recursive=True)] == ["C", "A", "B", "D"]


@pytest.mark.parametrize("text", ["kind: A", "- 1", "a: [", "", "{"])
def test_bad_manifests_say_where(text: str, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(CliError, match=r"x\.yaml"):
        read([str(file)])


def test_completion_knows_options_and_types() -> None:
    verbs = words_of_verbs()
    assert {"--namespace", "deployments", "deploy", "po"} <= set(verbs["get"][1])
    assert {"status", "undo"} <= set(verbs["rollout"][1])
    assert all("port-forward" in text(verbs) for text in (bash, zsh, fish))


def test_progress_of_images() -> None:
    assert progress([{"done_bytes": 1_000_000, "total_bytes": 4_000_000}]) == "1.0 MB of 4.0 MB (25 %)"
    assert progress([]) == ""
    assert shown_size(1999) == "2.0 kB"


def test_no_verb_pays_for_heavy_modules() -> None:
    """`get` must start quickly: what it imports is checked in a process of its own."""
    import subprocess
    import sys

    code = (
        "import sys; from edgekube.cli.main import main; main(['get', 'pods', '--socket', '/nonexistent/socket']); "
        "print([name for name in ('yaml', 'msgspec', 'trio', 'http.client', 'email', 'urllib.parse', 'asyncio', 'ssl',"
        " 'subprocess', 'shutil', 'datetime') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


ROOT = Path(__file__).resolve().parents[3]


def test_a_pod_that_leaves_is_nobodys_first_choice() -> None:
    def made(name: str, *, ready: bool = True, phase: str = "Running", **metadata: str) -> Any:
        conditions = [{"type": "Ready", "status": str(ready)}]
        return {"metadata": {"name": name, **metadata}, "status": {"phase": phase, "conditions": conditions}}

    pods = [
        made("done", phase="Succeeded", creationTimestamp="1"),
        made("leaves", creationTimestamp="2", deletionTimestamp="9"),
        made("waits", ready=False, creationTimestamp="3"),
        made("young", creationTimestamp="5"),
        made("old", creationTimestamp="4"),
    ]
    assert [p["metadata"]["name"] for p in sorted(pods, key=rank)] == ["old", "young", "waits", "leaves", "done"]
