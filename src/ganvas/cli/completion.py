"""What Tab completes in a shell, and the files by which a shell asks for it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from ganvas.cli import training, tune
from ganvas.ground.errors import UserError
from ganvas.ground.files import write_text

# The shell completes files where nothing is found. What may be typed is asked for at each Tab: it is never out of date.
BASH = """\
_ganvas() {
  local word
  COMPREPLY=()
  while IFS= read -r word; do COMPREPLY+=("$word"); done \\
    < <(ganvas --complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _ganvas ganvas
"""
ZSH = """\
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
_ganvas() {
  local -a found
  found=("${(@f)$(ganvas --complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "${found[1]}" ]]; then compadd -- "${found[@]}"; else _files; fi
}
compdef _ganvas ganvas
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH}
OF_RECIPES = {"train": training, "tune": tune}  # files of verbs whose flags depend on a recipe


def install(words: Sequence[str]) -> None:
    """Write the shell's file and a line that reads it into the shell's own settings; say where, and how to undo it.

    Args:
        words: the shell's name; none: that of $SHELL.

    Raises:
        UserError: another shell than bash and zsh.
    """
    shell = Path(os.environ.get("SHELL", "")).name if not words else words[0]
    if shell not in SCRIPTS or len(words) > 1:
        given = " ".join(words) or f"nothing, and $SHELL is {shell or 'not set'}"
        raise UserError(f"--install-completion takes bash or zsh, not {given}: ganvas --install-completion bash")
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    home = Path((shell == "zsh" and os.environ.get("ZDOTDIR")) or Path.home())
    file, settings = data / "ganvas" / f"completion.{shell}", home / f".{shell}rc"
    name = shlex.quote(str(file))
    line = f"[ -f {name} ] && source {name}  # ganvas"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, SCRIPTS[shell])
    before = settings.read_text(encoding="utf-8", errors="surrogateescape") if settings.is_file() else ""
    if line not in before.splitlines():
        with settings.open("a", encoding="utf-8") as added:  # it may be a link, which stays one
            added.write("\n" * (bool(before) and not before.endswith("\n")) + line + "\n")
    print(f"written: {file}\nin {settings}: {line}")
    print(f"It completes verbs, recipes and flags in each new {shell}. To undo it, delete the file and the line.")


def complete(words: Sequence[str], verbs: Mapping[str, Callable[..., None]]) -> list[str]:
    """What may stand for the last word after `ganvas`, of which the beginning is typed; nothing where files may."""
    *before, begun = words or [""]
    return sorted({word for word in _known(before, begun, verbs) if word.startswith(begun)})


def _known(before: Sequence[str], begun: str, verbs: Mapping[str, Callable[..., None]]) -> Iterable[str]:
    if not before:
        own = ["--help", "--version", "--install-completion"] if begun else []
        return [*own, *OF_RECIPES, *(verb.split()[0] for verb in verbs)]
    if before == ["--install-completion"]:
        return SCRIPTS
    if before == ["data"]:
        return [verb.split()[1] for verb in verbs if verb.startswith("data ")]
    from ganvas.cli.flags import Command, choices

    verb, *rest = [" ".join(before[:2]), *before[2:]] if before[0] == "data" else before
    if verb in OF_RECIPES:
        from ganvas.recipes import RECIPES

        if not rest:
            return [*RECIPES, *(["--resume", "--help"] if begun else [])]
        if "--resume" in rest:
            command = Command(verb, OF_RECIPES[verb].RESUMING)
        elif rest[0] in RECIPES:
            command = Command(verb, RECIPES[rest[0]], OF_RECIPES[verb].FLAGS)
        else:
            return []
    elif verb in verbs:
        command = Command(verb, verbs[verb])
    else:
        return []
    flag = command.words.get(before[-1])
    if flag and flag.kind is not bool:
        return choices(flag.kind)
    return [*command.words, "--help", "--threads", "--debug"] if begun.startswith("-") else []
