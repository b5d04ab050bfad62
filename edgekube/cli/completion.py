"""Print shell completion: source <(edgekube completion bash); for fish: edgekube completion fish | source.

Made from the options of every verb and the built-in resource types; completing asks no node.
"""

import argparse
from importlib import import_module

from edgekube.cli.arguments import parser
from edgekube.cli.errors import OK
from edgekube.types.resources import RESOURCES

OWN_OPTIONS = ("--socket", "--request-timeout", "--help")


def configure(made: argparse.ArgumentParser) -> None:
    made.add_argument("shell", choices=["bash", "zsh", "fish"])


def run(args: argparse.Namespace) -> int:
    print({"bash": bash, "zsh": zsh, "fish": fish}[args.shell](words_of_verbs()))
    return OK


def words_of_verbs() -> dict[str, tuple[str, list[str]]]:
    """verb -> (its help, everything that may follow it)."""
    from edgekube.cli.main import VERBS

    types = sorted({name for row in RESOURCES for name in (row.plural, row.singular, *row.short_names)})
    out: dict[str, tuple[str, list[str]]] = {}
    for verb, (module, help_) in VERBS.items():
        if not module:
            out[verb] = help_, list(OWN_OPTIONS)
            continue
        made = parser(verb, "")
        import_module(f"edgekube.cli.{module}").configure(made)
        words = _words(made)
        if any(action.dest == "what" for action in _all_actions(made)):
            words += types
        out[verb] = help_, words
    return out


def _all_actions(made: argparse.ArgumentParser) -> list[argparse.Action]:
    out = list(made._actions)
    for action in made._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in set(action.choices.values()):
                out += _all_actions(sub)
    return out


def _words(made: argparse.ArgumentParser) -> list[str]:
    found: list[str] = []
    for action in _all_actions(made):
        if action.help is not argparse.SUPPRESS:
            found += [option for option in action.option_strings if option.startswith("--")]
        if action.choices is not None and not action.option_strings:
            found += [str(choice) for choice in action.choices]
    return list(dict.fromkeys(found))


def bash(verbs: dict[str, tuple[str, list[str]]]) -> str:
    cases = "\n".join(f"    {verb}) words='{' '.join(words)}' ;;" for verb, (_, words) in verbs.items())
    return f"""\
_edgekube() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" words='{" ".join(verbs)}' verb='' word
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case "$word" in -*) ;; *) verb="$word"; break ;; esac
  done
  case "$verb" in
{cases}
  esac
  if [[ "$verb" == @(apply|create|delete|images|patch) ]] && [[ "$current" != -* ]]; then
    COMPREPLY=($(compgen -f -W "$words" -- "$current"))
  else
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  fi
}}
complete -o filenames -F _edgekube edgekube"""


def zsh(verbs: dict[str, tuple[str, list[str]]]) -> str:
    listed = "\n".join(f"    '{verb}:{help_.replace(chr(39), '')}'" for verb, (help_, _) in verbs.items())
    cases = "\n".join(f"    {verb}) compadd -- {' '.join(words)} ;;" for verb, (_, words) in verbs.items())
    return f"""\
#compdef edgekube
_edgekube() {{
  local -a verbs
  verbs=(
{listed}
  )
  if (( CURRENT == 2 )); then
    _describe 'verb' verbs
    return
  fi
  case "$words[2]" in
{cases}
  esac
  _files
}}
compdef _edgekube edgekube"""


def fish(verbs: dict[str, tuple[str, list[str]]]) -> str:
    lines = []
    for verb, (help_, words) in verbs.items():
        text = help_.replace("'", "")
        lines.append(f"complete -c edgekube -n __fish_use_subcommand -a {verb} -d '{text}'")
        options = [word[2:] for word in words if word.startswith("--")]
        others = [word for word in words if not word.startswith("--")]
        begin = f"complete -c edgekube -n '__fish_seen_subcommand_from {verb}'"
        lines += [f"{begin} -l {option}" for option in options]
        if others:
            lines.append(f"{begin} -a '{' '.join(others)}'")
    return "\n".join(lines)
