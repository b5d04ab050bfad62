"""Print the output of containers: of a pod, of a Deployment's pods (TYPE/NAME), or of all that match -l."""

import argparse
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from edgekube.cli import arguments
from edgekube.cli.api import Api, Json, path_of
from edgekube.cli.errors import FAILED, OK, CliError, UsageError, describe
from edgekube.cli.pods import PODS, choose_container, containers_of, pods_behind, selected

SELECTOR_TAIL = 10  # lines of each when many are printed, as kubectl does
FOLLOWS_MAX = 50


def configure(made: argparse.ArgumentParser) -> None:
    made.add_argument("what", nargs="*", metavar="POD [CONTAINER] | TYPE/NAME")
    arguments.add_selectors(made, fields=False)
    made.add_argument("-f", "--follow", action="store_true", help="go on as more comes")
    made.add_argument("-p", "--previous", action="store_true", help="of the container before the last restart")
    made.add_argument("-c", "--container", metavar="NAME", default="", help="which container")
    made.add_argument("--all-containers", action="store_true", help="every container")
    made.add_argument("--all-pods", action="store_true", help="every pod of a Deployment and the like")
    made.add_argument("--tail", metavar="N", type=int, default=None, help="the last N lines (default: all; 10 with -l)")
    made.add_argument("--since", metavar="TIME", default="", help="newer than this, such as 5m")
    made.add_argument("--since-time", metavar="DATE", default="", help="newer than this date (RFC 3339)")
    made.add_argument("--timestamps", action="store_true", help="with the time of each line")
    made.add_argument("--prefix", action="store_true", help="with the pod and container of each line")
    made.add_argument("--limit-bytes", metavar="N", type=int, default=0, help="no more than this")
    made.add_argument("--ignore-errors", action="store_true", help="with -f: go on when one fails")
    made.add_argument(
        "--max-log-requests", metavar="N", type=int, default=5, help="most to follow at once (default: 5)"
    )


class Source(NamedTuple):
    """One container's log."""

    pod: str
    container: str
    path: str

    @property
    def prefix(self) -> bytes:
        return f"[pod/{self.pod}/{self.container}] ".encode()


def run(args: argparse.Namespace) -> int:
    if args.since and args.since_time:
        raise UsageError("at most one of `sinceTime` or `sinceSeconds` may be specified")
    api = arguments.api_of(args)
    sources = _sources(api, args)
    query = _query(args)
    if args.follow and len(sources) > 1:
        if len(sources) > min(args.max_log_requests, FOLLOWS_MAX):
            raise CliError(
                f"you are attempting to follow {len(sources)} log streams, but maximum allowed concurrency is "
                f"{args.max_log_requests}, use --max-log-requests to increase the limit"
            )
        return _follow_all(api, sources, query, args)
    for source in sources:
        for piece in _pieces(api, source, query, prefixed=args.prefix):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
    return OK


def _sources(api: Api, args: argparse.Namespace) -> list[Source]:
    namespace = arguments.namespace_of(args)
    wanted = args.container
    if args.selector:
        if args.what:
            raise UsageError("only a selector (-l) or a POD name is allowed")
        pods = selected(api, namespace, args.selector)
        if not pods:
            print(f"No resources found in {namespace} namespace.", file=sys.stderr)
    else:
        if not 1 <= len(args.what) <= 2:
            raise UsageError("expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'")
        if len(args.what) == 2:
            if wanted:
                raise UsageError("only one of -c or an inline [CONTAINER] arg is allowed")
            wanted = args.what[1]
        pods = _pods_named(api, namespace, args.what[0], every=args.all_pods)
    if args.all_containers and wanted:
        raise UsageError("--all-containers=true should not be specified with container name")
    out = []
    for pod in pods:
        names = containers_of(pod) if args.all_containers else [choose_container(pod, wanted)]
        name = pod["metadata"]["name"]
        out += [Source(name, each, path_of(PODS, pod["metadata"]["namespace"], name, "log")) for each in names]
    return out


def _pods_named(api: Api, namespace: str, word: str, *, every: bool) -> list[Json]:
    from edgekube.cli import kinds

    kind, slash, name = word.partition("/")
    if not slash or kinds.resolve_one(api, kind).plural == "pods":
        return [api.get(path_of(PODS, namespace, name if slash else word))]
    resource = kinds.resolve_one(api, kind)
    pods = pods_behind(api, namespace, resource, api.get(path_of(resource, namespace, name)))
    if len(pods) > 1 and not every:
        print(f"Found {len(pods)} pods, using pod/{pods[0]['metadata']['name']}", file=sys.stderr)
    return pods if every else pods[:1]


def _query(args: argparse.Namespace) -> dict[str, str]:
    tail = args.tail if args.tail is not None else SELECTOR_TAIL if args.selector else -1
    since = int(arguments.seconds(args.since) + 0.999) if args.since else 0
    return {
        "follow": "true" if args.follow else "",
        "previous": "true" if args.previous else "",
        "timestamps": "true" if args.timestamps else "",
        "tailLines": str(tail) if tail >= 0 else "",
        "sinceSeconds": str(since) if since > 0 else "",
        "sinceTime": args.since_time,
        "limitBytes": str(args.limit_bytes) if args.limit_bytes > 0 else "",
    }


def _pieces(api: Api, source: Source, query: dict[str, str], *, prefixed: bool) -> Iterator[bytes]:
    """Bytes as they come; whole lines when each gets a prefix."""
    response = api.stream("GET", source.path, {**query, "container": source.container}, accept="*/*")
    if not prefixed:
        yield from response.chunks()
        return
    for line in response.lines():
        yield source.prefix + line + b"\n"


def _follow_all(api: Api, sources: Sequence[Source], query: dict[str, str], args: argparse.Namespace) -> int:
    """One thread a stream: they only move bytes, and each line is written whole."""
    lock = threading.Lock()
    failures: list[CliError] = []

    def follow(source: Source) -> None:
        try:
            response = api.stream("GET", source.path, {**query, "container": source.container}, accept="*/*")
            for line in response.lines():
                with lock:
                    sys.stdout.buffer.write((source.prefix if args.prefix else b"") + line + b"\n")
                    sys.stdout.buffer.flush()
        except CliError as error:
            with lock:
                failures.append(error)
                print(describe(error), file=sys.stderr)
        except (BrokenPipeError, OSError):
            pass  # our reader is gone; the main thread ends with the last of us

    threads = [threading.Thread(target=follow, args=(source,), daemon=True) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return FAILED if failures and not args.ignore_errors else OK
