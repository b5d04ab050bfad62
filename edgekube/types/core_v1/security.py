"""core/v1: security.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int64, Object, always


class AppArmorProfile(Object, frozen=True, kw_only=True):
    localhostProfile: str | None = None
    type: str = always("")


class Capabilities(Object, frozen=True, kw_only=True):
    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class SELinuxOptions(Object, frozen=True, kw_only=True):
    level: str = ""
    role: str = ""
    type: str = ""
    user: str = ""


class SeccompProfile(Object, frozen=True, kw_only=True):
    localhostProfile: str | None = None
    type: str = always("")


class Sysctl(Object, frozen=True, kw_only=True):
    name: str = always("")
    value: str = always("")


class WindowsSecurityContextOptions(Object, frozen=True, kw_only=True):
    gmsaCredentialSpec: str | None = None
    gmsaCredentialSpecName: str | None = None
    hostProcess: bool | None = None
    runAsUserName: str | None = None


class PodSecurityContext(Object, frozen=True, kw_only=True):
    appArmorProfile: AppArmorProfile | None = None
    fsGroup: Int64 | None = None
    fsGroupChangePolicy: str = ""
    runAsGroup: Int64 | None = None
    runAsNonRoot: bool | None = None
    runAsUser: Int64 | None = None
    seLinuxChangePolicy: str = ""
    seLinuxOptions: SELinuxOptions | None = None
    seccompProfile: SeccompProfile | None = None
    supplementalGroups: tuple[Int64, ...] = ()
    supplementalGroupsPolicy: str = ""
    sysctls: tuple[Sysctl, ...] = ()
    windowsOptions: WindowsSecurityContextOptions | None = None


class SecurityContext(Object, frozen=True, kw_only=True):
    allowPrivilegeEscalation: bool | None = None
    appArmorProfile: AppArmorProfile | None = None
    capabilities: Capabilities | None = None
    privileged: bool | None = None
    procMount: str = ""
    readOnlyRootFilesystem: bool | None = None
    runAsGroup: Int64 | None = None
    runAsNonRoot: bool | None = None
    runAsUser: Int64 | None = None
    seLinuxOptions: SELinuxOptions | None = None
    seccompProfile: SeccompProfile | None = None
    windowsOptions: WindowsSecurityContextOptions | None = None
