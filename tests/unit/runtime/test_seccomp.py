from typing import Any

import msgspec
import pytest

from edgekube.runtime import seccomp
from edgekube.runtime.api import RuntimeFailure
from edgekube.runtime.seccomp import Profile, default_profile, flatten, read_profile

SOURCE: dict[str, Any] = {
    "syscalls": [
        {"names": ["swapon", "vmsplice"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
        {"names": ["read", "mount", "clone", "clone3", "keyctl", "ptrace"], "action": "SCMP_ACT_ALLOW", "args": []},
        {
            "names": ["personality"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 8, "valueTwo": 0, "op": "SCMP_CMP_EQ"}],
        },
        {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64", "x32"]}},
        {"names": ["cacheflush"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
        {"names": ["chroot"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_CHROOT"]}},
        {"names": ["chroot"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_SYS_CHROOT"]}},
        {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_AUDIT_WRITE"]}},
    ]
}


def profile(machine: str = "x86_64", calls: frozenset[str] = frozenset()) -> Profile:
    return msgspec.json.decode(flatten(msgspec.json.encode(SOURCE), machine, calls), type=Profile)


def verdict(document: dict[str, Any], name: str) -> list[tuple[str, Any]]:
    return [(rule["action"], rule["errnoRet"]) for rule in document["syscalls"] if name in rule["names"]]


def test_only_the_architectures_own_rules_stay() -> None:
    assert "arch_prctl" in profile().allowed
    assert "cacheflush" not in profile().allowed
    assert "cacheflush" in profile("aarch64").allowed
    assert profile("aarch64").architecture == "SCMP_ARCH_AARCH64"
    assert "swapon" not in profile(calls=frozenset({"read", "socket"})).refused


def test_mounting_and_keyrings_are_not_for_everybody() -> None:
    plain = default_profile(frozenset(), profile())
    assert verdict(plain, "read") == verdict(plain, "socket") == [("SCMP_ACT_ALLOW", None)]
    assert verdict(plain, "mount") == verdict(plain, "keyctl") == verdict(plain, "chroot") == [("SCMP_ACT_ERRNO", 1)]
    admin = default_profile(frozenset({"CAP_SYS_ADMIN", "CAP_SYS_CHROOT"}), profile())
    assert verdict(admin, "mount") == verdict(admin, "chroot") == [("SCMP_ACT_ALLOW", None)]
    assert verdict(admin, "keyctl") == [("SCMP_ACT_ERRNO", 1)]


def test_new_namespaces_need_a_capability() -> None:
    plain = default_profile(frozenset(), profile())
    (clone,) = [rule for rule in plain["syscalls"] if "clone" in rule["names"]]
    assert list(clone["args"]) == [{"index": 0, "value": 0x7E020000, "op": "SCMP_CMP_MASKED_EQ", "valueTwo": 0}]
    assert verdict(plain, "clone3") == [("SCMP_ACT_ERRNO", 38)]
    admin = default_profile(frozenset({"CAP_SYS_ADMIN"}), profile())
    assert verdict(admin, "clone3") == [("SCMP_ACT_ALLOW", None)]


def test_the_built_file_is_sane() -> None:
    if not seccomp.DATA_PATH.exists():
        pytest.skip("native/build.py did not run")
    document = default_profile(frozenset())
    names = [name for rule in document["syscalls"] if not rule.get("args") for name in rule["names"]]
    assert len(names) == len(set(names))
    assert verdict(document, "openat2") == [("SCMP_ACT_ALLOW", None)]
    for name in ("mount", "bpf", "init_module", "reboot", "unshare", "setns", "kexec_load", "open_by_handle_at"):
        assert verdict(document, name) == [("SCMP_ACT_ERRNO", 1)], name


def test_a_users_profile_must_be_one(tmp_path: Any) -> None:
    path = tmp_path / "p.json"
    for text in ("{", "[]", "{}"):
        path.write_text(text)
        with pytest.raises(RuntimeFailure):
            read_profile(str(path))
    path.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    assert read_profile(str(path)) == {"defaultAction": "SCMP_ACT_ALLOW"}
    with pytest.raises(RuntimeFailure):
        read_profile(str(tmp_path / "absent"))
