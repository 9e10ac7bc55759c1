"""What a terminal, a pipe and a shell get to see: the live view, plain lines, tables, examples, completion."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from rich.console import Console

from portgnn import cli
from portgnn.cli import _output
from portgnn.cli._app import app
from portgnn.cli._examples import EXAMPLES
from portgnn.cli._live import FRAMES_A_SECOND, View
from portgnn.presets import PRESETS
from portgnn.training import History

Streams = pytest.CaptureFixture[str]
COMMAND = [sys.executable, "-m", "portgnn"]
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
ERASE = "\x1b[2K"
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9]")
LONG_RUN = ("train", "--dataset", "csbm-cora", "--epochs", "1500", "--patience", "0")


def _history(epochs: int, *, validated: bool = True) -> History:
    """Losses that fall until epoch 30 and rise from there."""
    losses = [1 + abs(epoch - 29) / 100 for epoch in range(epochs)]
    return History(
        train_loss=[loss / 2 for loss in losses],
        val_loss=losses if validated else [],
        val_accuracy=[0.5 + epoch / 1000 for epoch in range(epochs)] if validated else [],
        epoch_ms=[12.5] * epochs,
    )


def _drawn(view: View, width: int) -> list[str]:
    console = Console(width=width, height=20, color_system=None, force_terminal=True, legacy_windows=False)
    with console.capture() as captured:
        console.print(view)
    return [line.rstrip() for line in ESCAPES.sub("", captured.get()).splitlines()]


class _Clock:
    """Seconds that pass when told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def _view(epochs: int, *, validated: bool = True) -> View:
    clock = _Clock()
    view = View(200, clock)
    view.report(_history(1, validated=validated))
    clock.now += epochs - 1  # a second an epoch
    view.report(_history(epochs, validated=validated))
    return view


# the view as such


def test_the_view_shows_the_last_epoch_above_the_best() -> None:
    bar, *table = _drawn(_view(50), 80)
    assert re.fullmatch(r"epoch 50/200  ━+╸?━* +at most 0:02:30 left", bar)
    assert [line.split() for line in table] == [
        ["epoch", "train", "loss", "val", "loss", "val", "accuracy", "ms/epoch"],
        ["last", "50", "0.6000", "1.2000", "0.5490", "12.50"],
        ["best", "30", "0.5000", "1.0000", "0.5290", "12.50"],
    ]


def test_the_view_needs_no_validation_and_no_epoch() -> None:
    assert [line.split() for line in _drawn(_view(50, validated=False), 80)[1:]] == [
        ["epoch", "train", "loss", "ms/epoch"],
        ["last", "50", "0.6000", "12.50"],
    ]
    clock = _Clock()
    view = View(200, clock)
    clock.now += 61
    (line,) = _drawn(view, 80)
    assert re.fullmatch(r"epoch 0/200  ━* +0:01:01 gone", line)


def test_a_narrow_terminal_loses_columns_and_no_line_is_wrapped() -> None:
    heads = {}
    for width in (120, 80, 60, 50, 40, 30, 20, 12):
        lines = _drawn(_view(50), width)
        assert len(lines) == 4, (width, lines)
        assert max(map(len, lines)) <= width
        heads[width] = " ".join(lines[1].split())
        assert lines[2].split()[:2] == ["last", "50"][: 2 if width >= 12 else 1]
    everything = "epoch train loss val loss val accuracy ms/epoch"
    assert heads[120] == heads[80] == heads[60] == everything
    assert heads[50] == "epoch train loss val loss val accuracy"
    assert heads[40] == "epoch val loss val accuracy"
    assert (heads[30], heads[20]) == ("epoch val loss", "epoch")
    assert "━" in _drawn(_view(50), 60)[0]
    assert "━" not in _drawn(_view(50), 40)[0]
    assert "at most" in _drawn(_view(50), 40)[0]
    assert "at most" not in _drawn(_view(50), 20)[0]


def test_the_time_left_runs_down_between_epochs() -> None:
    view = _view(50)
    assert view.seconds_left() == pytest.approx(150)
    clock = view._clock
    assert isinstance(clock, _Clock)
    clock.now += 20
    assert view.seconds_left() == pytest.approx(130)
    clock.now += 1000
    assert view.seconds_left() == 0


# real terminals and pipes


def _in_terminal(
    *arguments: str, columns: int = 80, out: Path | None = None, interrupt: str = "", **environment: str
) -> tuple[str, float, int]:
    """What a command writes to a terminal (stdout too, unless it goes to `out`), its seconds and exit status.

    interrupt: the word upon which Ctrl-C is typed.
    """
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    variables = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")}
    variables |= {"TERM": "xterm-256color"} | environment
    result = follower if out is None else os.open(out, os.O_WRONLY | os.O_CREAT)
    start = time.perf_counter()
    with subprocess.Popen([*COMMAND, *arguments], stdout=result, stderr=follower, env=variables) as process:
        os.close(follower)
        parts = []
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:  # Linux: the other end is closed
                break
            if not part:
                break
            parts.append(part)
            if interrupt and interrupt.encode() in part:
                process.send_signal(signal.SIGINT)
                interrupt = ""
    os.close(leader)
    if out is not None:
        os.close(result)
    return b"".join(parts).decode(), time.perf_counter() - start, process.returncode


def test_a_terminal_sees_the_live_view_and_stdout_holds_the_result(tmp_path: Path) -> None:
    shown, seconds, status = _in_terminal(*LONG_RUN, out=tmp_path / "result")
    plain = ESCAPES.sub("", shown)
    assert status == 0
    assert re.search(r"epoch +[1-9]\d*/1500  ━", plain)
    assert re.search(r"last +\d+ +\d\.\d{4} +\d\.\d{4} +0\.\d{4} +\d+\.\d\d", plain)
    assert re.search(r"best +\d+ +\d\.\d{4}", plain)
    assert plain.count("numpy runs on cpu") == 1
    assert COLOUR.search(shown)
    assert shown.index("\x1b[?25h") < shown.index("last")  # a run that is killed leaves a cursor behind
    result = (tmp_path / "result").read_text()
    assert result.startswith("csbm-cora: 2708 nodes")
    assert re.search(r"^test accuracy 0\.\d{4}\n\Z", result, re.MULTILINE)
    assert "\x1b" not in result
    frames = len(re.findall(r"epoch +\d+/1500", plain))
    assert 2 <= frames <= 10 * seconds
    assert frames <= (FRAMES_A_SECOND + 2) * seconds


def test_no_colour_where_none_is_wanted() -> None:
    shown, _, status = _in_terminal(*LONG_RUN, columns=40, NO_COLOR="1")
    assert status == 0
    assert re.search(r"last +\d+", ESCAPES.sub("", shown))
    assert not COLOUR.search(shown)


def test_a_dumb_terminal_gets_plain_lines() -> None:
    shown, _, status = _in_terminal("train", "--dataset", "karate", "--epochs", "60", "--patience", "0", TERM="dumb")
    assert status == 0
    assert "\x1b" not in shown
    assert re.findall(r"^epoch +(\d+)  train loss", shown, re.MULTILINE) == ["20", "40", "60"]


def test_records_on_a_terminal_stay_whole() -> None:
    """Between two drawings of the live view, a record would be wiped away with the second."""
    shown, _, status = _in_terminal(*LONG_RUN[:4], "60", "--log-file", "-")
    assert status == 0
    records = [json.loads(line) for line in shown.splitlines() if line.startswith("{")]
    assert [record["event"] for record in records][-1] == "end"
    assert not ESCAPES.search(shown)


def test_ctrl_c_leaves_the_last_epochs_and_a_visible_cursor() -> None:
    shown, _, status = _in_terminal(*LONG_RUN[:4], "100000", "--patience", "0", interrupt="best")
    assert status == cli.INTERRUPTED
    assert ERASE not in shown[shown.rindex("best") :]
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def test_messages_fit_the_terminal_that_they_go_to(tmp_path: Path) -> None:
    shown, _, status = _in_terminal(*LONG_RUN[:4], "5", columns=40, out=tmp_path / "result")
    assert status == 0
    lines = [line for line in ESCAPES.sub("", shown).splitlines() if not line.startswith("  portgnn")]
    assert lines[-1].endswith("run.json")
    assert max(map(len, lines)) <= 40
    _, _, status = _in_terminal("train", "--dataset", "karate", "--epochs", "2", columns=0)
    assert status == 0


def test_a_mistake_leaves_no_bar_above_its_error() -> None:
    shown, _, status = _in_terminal("train", "--dataset", "karete")
    assert status == 2
    before, _, error = shown.rpartition("error: ")
    assert ERASE in before[before.rindex("epoch 0/200") :]
    assert "\r\n" in error.rstrip()  # folded at 80 columns
    assert max(map(len, f"error: {error}".splitlines())) <= 80
    assert "Did you mean 'karate'" in " ".join(error.split())


def test_pipes_get_plain_lines_on_stderr(capsys: Streams) -> None:
    assert cli.main(["train", "--dataset", "karate", "--epochs", "60", "--patience", "0"]) == 0
    out, err = capsys.readouterr()
    epochs = [int(found[1]) for line in err.splitlines() if (found := re.match(r"epoch +(\d+)  train loss \d", line))]
    assert epochs == [20, 40, 60]  # however long the chunks are
    assert re.fullmatch(r"test accuracy [01]\.\d{4}", out.splitlines()[-1])
    assert "epoch   20" not in out
    assert "\x1b" not in out + err
    assert "numpy runs on cpu" in err


def test_a_long_run_writes_few_lines_and_a_slow_one_is_not_silent(
    capsys: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    from portgnn.cli import _training

    report = _training._lines(2000)
    for length in range(7, 2001, 7):
        report(_history(length))
    assert len(capsys.readouterr().err.splitlines()) == _training.LINES - 1  # the last chunk ends at 1995
    seconds = iter(range(0, 1000, 20))
    monkeypatch.setattr(_training.time, "monotonic", lambda: float(next(seconds)))
    report = _training._lines(200)
    for length in range(1, 10):
        report(_history(length))
    assert capsys.readouterr().err.count("train loss") >= 3


def test_json_has_stdout_for_itself(capsys: Streams) -> None:
    assert cli.main(["train", "--dataset", "karate", "--epochs", "40", "--json"]) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert out.startswith("{")
    assert "train loss" not in err
    assert "--save" not in err


# tables and messages


def test_a_table_is_folded_between_words_and_says_what_it_left_out(
    capsys: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns, rows = ("name", "number", "text"), [("first", "123456789", "several words to fold"), ("second", "1", "")]

    def shown(width: int) -> tuple[list[str], str]:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        _output.print_table(columns, rows, give_up=("number",))
        out, err = capsys.readouterr()
        lines = ESCAPES.sub("", out).splitlines()
        assert max(map(len, lines)) <= width
        return lines, err

    lines, err = shown(80)
    assert lines[1].split() == ["first", "123456789", "several", "words", "to", "fold"]
    assert not err
    lines, err = shown(28)
    assert "123456789" in lines[1]
    assert "several" in lines[1]
    assert not err
    lines, err = shown(20)
    assert not any("1234" in line for line in lines)
    assert "No room here for: number." in err


def test_messages_break_between_words_and_commands_stay_whole(capsys: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "Next, something that takes more than twenty columns:"
    command_line = "portgnn predict model.safetensors --dataset cora"
    _output.announce(text, command_line)
    assert capsys.readouterr().err == f"{text}\n  {command_line}\n"
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    _output.announce(text, command_line)
    *folded, command = capsys.readouterr().err.splitlines()
    assert len(folded) >= 3
    assert max(map(len, folded)) <= 20
    assert [" ".join(folded), command] == [text, f"  {command_line}"]


def test_what_a_command_says_to_do_next_can_be_done(
    capsys: Streams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def next_commands(*arguments: str) -> list[list[str]]:
        capsys.readouterr()
        assert cli.main(arguments) == 0
        err = capsys.readouterr().err
        return [shlex.split(line) for line in err.splitlines() if line.startswith("  portgnn ")]

    for arguments in (
        ("train", "--dataset", "karate", "--save", "a model.safetensors", "--checkpoint", "run.ckpt", "--epochs", "5"),
        ("train", "--resume", "run.ckpt", "--epochs", "6", "--save", "b.safetensors"),
    ):
        for command, file, start in zip(
            next_commands(*arguments), ("nodes.csv", "map.png"), (b"node,predicted", b"\x89PNG"), strict=True
        ):
            assert next_commands(*command[1:]) == []
            assert (tmp_path / file).read_bytes().startswith(start)
            (tmp_path / file).unlink()
    (command,) = next_commands("datasets")
    assert cli.main([{"NAME": "karate"}.get(word, word) for word in command[1:]]) == 0
    (command,) = next_commands("backends")
    assert command[1:] == ["verify", "--backend", "NAME", "--device", "DEVICE"]  # verified in other tests


# help and completion


def test_every_command_has_examples(capsys: Streams) -> None:
    names = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    names |= {group.name for group in app.registered_groups if group.name}
    assert names == set(EXAMPLES) - {""}
    for name, examples in EXAMPLES.items():
        assert cli.main([*name.split(), "--help"]) == 0
        shown = capsys.readouterr().out.splitlines()
        for line, remark in examples:
            assert any(text.strip() == line or text.strip() == f"{line}  # {remark}" for text in shown), line
        assert max(map(len, shown)) <= 80


def test_every_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Streams) -> None:
    """In their order and one folder, redirections left out."""
    monkeypatch.chdir(tmp_path)
    for examples in EXAMPLES.values():
        for line, _ in examples:
            if any(word in line for word in ("--install-completion", "verify", "bench", "doctor.json")):
                continue  # tested on their own: they write to a shell's files, or take seconds
            program, *arguments = shlex.split(line.partition(" > ")[0])
            assert program == "portgnn"
            assert cli.main(arguments) == 0, line
            out, _ = capsys.readouterr()
            target = line.partition(" > ")[2]
            if target:
                (tmp_path / target).write_text(out)


def _complete(words: str) -> list[str]:
    """What bash is offered after `portgnn WORDS`."""
    line = f"portgnn {words}"
    environment = os.environ | {
        "_PORTGNN_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }
    script = str(Path(sys.executable).with_name("portgnn"))
    done = subprocess.run([script], env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.split()


def test_tab_offers_names() -> None:
    from portgnn.datasets import dataset_names
    from portgnn.registry import registered_names

    assert {"train", "predict", "verify", "doctor"} <= set(_complete(""))
    assert _complete("train --preset ") == list(PRESETS)
    assert _complete("train --backend ") == list(registered_names())
    assert _complete("predict m --dataset c") == [name for name in dataset_names() if name.startswith("c")]
    assert _complete("train --bias ") == ["none", "after", "before"]
    assert _complete("train --dataset ./") == []  # bash goes on with files
    assert "--learning-rate" in _complete("train --l")


ASKED = {
    "bash": """eval "$(portgnn --show-completion)"; COMP_WORDS=(portgnn train --backend ""); COMP_CWORD=3
        _portgnn_completion portgnn; printf '%s\\n' "${COMPREPLY[@]}" """,
    # Its completions run inside its line editor alone; what they evaluate is looked at here.
    "zsh": """portgnn --show-completion > it; zsh -n it && grep -q '^compdef _portgnn_completion portgnn' it || exit
        _TYPER_COMPLETE_ARGS="portgnn train --backend " _PORTGNN_COMPLETE=complete_zsh portgnn | grep -o '[a-z]\\+'""",
    "fish": "portgnn --show-completion | source; complete -C 'portgnn train --backend '",
}


@pytest.mark.parametrize("shell", ASKED)
def test_a_shell_is_offered_the_backends(shell: str, tmp_path: Path) -> None:
    from portgnn.registry import registered_names

    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    here = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": here, "HOME": str(tmp_path)}
    done = subprocess.run(
        [shell, "-c", ASKED[shell]], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert [word for word in done.stdout.split() if word != "arguments"] == list(registered_names()), done.stderr


def test_completion_imports_no_framework() -> None:
    code = (
        "import sys; from portgnn.cli import _completion as c; import portgnn.cli._app; "
        "c.backends(), c.datasets(), c.presets(), c.dtypes(); "
        "print(sorted({'torch', 'mlx', 'jax', 'cupy', 'rich'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_bash_installs_and_uses_the_completion(tmp_path: Path) -> None:
    """In a bash of its own, with a home of its own."""
    folder = Path(sys.executable).parent
    environment = os.environ | {"HOME": str(tmp_path), "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}

    def bash(script: str) -> str:
        done = subprocess.run(
            ["bash", "--norc", "-c", f"{script}\n:"], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "complete -o default -F _portgnn_completion portgnn" in bash("portgnn --show-completion")
    assert "bash completion installed" in bash("portgnn --install-completion")
    offered = bash(
        'for file in ~/.bash_completions/*.sh; do . "$file"; done\n'
        "COMP_WORDS=(portgnn train --dataset kar); COMP_CWORD=3; _portgnn_completion portgnn\n"
        'echo "${COMPREPLY[@]}"'
    )
    assert offered == "karate\n"
