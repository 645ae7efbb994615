"""The scripts with which bash, zsh and fish call a program that completes words.

The program gets the words of the command line and the index of the word to complete, and prints a line for each
completion: the word, a tabulator, a description. A single line ``FILES`` asks for names of files.
"""

from __future__ import annotations

from typing import Literal

Shell = Literal["bash", "zsh", "fish"]

FILES = "__TYRO_COMPLETE_FILES__"
PROGRAM = "<the program>"  # the place of the program in a script

# The text of the program stands in a here-document of a function. In a command substitution, bash would look for
# quotes in the text.
CALL = f"""\
_grasp_completions() {{
  local python=python3
  command -v python3 > /dev/null 2>&1 || python=python
  command "$python" - "$@" 2> /dev/null << 'END'
{PROGRAM}
END
}}
"""

BASH = f"""\
# Completion of grasp in bash, written by: grasp completion bash
{CALL}
_grasp() {{
  # Bash splits words at colons, as in planner:cem. This loop joins them again.
  local -a words=()
  local i chosen=0 line
  for ((i = 0; i < ${{#COMP_WORDS[@]}}; i++)); do
    if ((i > 0)) && [[ ${{COMP_WORDS[i]}} == : || ${{COMP_WORDS[i - 1]}} == : ]]; then
      words[${{#words[@]}}-1]+=${{COMP_WORDS[i]}}
    else
      words+=("${{COMP_WORDS[i]}}")
    fi
    if ((i == COMP_CWORD)); then chosen=$((${{#words[@]}} - 1)); fi
  done
  local word=${{words[chosen]}}
  COMPREPLY=()
  while IFS= read -r line; do
    COMPREPLY+=("${{line%%$'\\t'*}}")
  done < <(_grasp_completions "${{words[@]}}" "$chosen")
  if [[ ${{COMPREPLY[0]-}} == {FILES} ]]; then
    COMPREPLY=()
    compopt -o filenames 2> /dev/null
    while IFS= read -r line; do
      COMPREPLY+=("$line")
    done < <(compgen -f -- "$word")
  fi
  # Bash replaces only the text after the last colon.
  if [[ $word == *:* ]]; then
    local before=${{word%"${{word##*:}}"}}
    COMPREPLY=("${{COMPREPLY[@]#"$before"}}")
  fi
}}
complete -o default -F _grasp grasp
"""

ZSH = f"""\
#compdef grasp
# Completion of grasp in zsh, written by: grasp completion zsh
{CALL}
_grasp() {{
  local line word about
  local -a found described
  found=("${{(@f)$(_grasp_completions "${{words[@]}}" $((CURRENT - 1)))}}")
  if [[ "$found[1]" == {FILES} ]]; then
    _files
    return
  fi
  for line in $found; do
    word="${{line%%$'\\t'*}}"
    about="${{line#*$'\\t'}}"
    described+=("${{word//:/\\\\:}}:$about")
  done
  _describe word described || _files
}}

# zsh runs this file as the function _grasp at the first completion. A user may also source the file.
if [[ "$funcstack[1]" == _grasp ]]; then
  _grasp "$@"
else
  compdef _grasp grasp
fi
"""

FISH = f"""\
# Completion of grasp in fish, written by: grasp completion fish
function _grasp_completions
    set -l python (command -s python3; or command -s python)
    or return
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    set -l program '{PROGRAM}'
    set -l found (printf '%s' $program | $python - $words "$word" (count $words) 2> /dev/null)
    if test (count $found) -eq 0; or test "$found[1]" = {FILES}
        __fish_complete_path "$word"
    else
        printf '%s\\n' $found
    end
end
complete --command grasp --no-files --arguments '(_grasp_completions)'
"""

SCRIPTS: dict[Shell, str] = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def shell_script(shell: Shell, program: str) -> str:
    """Return the script for a shell.

    Args:
        shell: bash, zsh or fish.
        program: the text of the program, in Python.

    >>> "print('yes')" in shell_script("zsh", "print('yes')")
    True
    """
    text = program.replace("\\", "\\\\").replace("'", "\\'") if shell == "fish" else program
    return SCRIPTS[shell].replace(PROGRAM, text)
