"""The command line as a person meets it: help, mistakes, exit codes, and where the results are."""

import builtins
import ctypes.util
import errno
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from drift_wm import __main__, cli, commands
from drift_wm.cli import main
from drift_wm.configs.schema import COMMANDS
from drift_wm.pool import run_in_processes

TINY = ["task=cartpole-swingup", "env.action_repeat=50", "env.render_width=64", "env.render_height=48"]


def test_collect_train_evaluate_in_three_commands(tmp_path, capsys):
    assert main(["collect", *TINY, "episodes=2", f"run_dir={tmp_path}/data"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{tmp_path}/data"
    small = ["model.chunk=2", "model.generator.width=16", "steps=5", "training.batch_size=8"]
    data = f"data={tmp_path}/data/episodes.hdf5"
    assert main(["train", data, *small, f"run_dir={tmp_path}/model"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"energy score +│ +[\d.]+ +│ +[\d.]+ ", out), "of the last batch, and held out"
    assert "Episodes: 1 to learn from, 1 held out." in out
    assert out.splitlines()[-1] == f"{tmp_path}/model"
    planner = ["planner.horizon=4", "planner.candidates=24", "planner.iterations=1"]
    arguments = ["evaluate", *TINY, f"checkpoint={tmp_path}/model", *planner, "episodes=1", f"run_dir={tmp_path}/eval"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "drifting world model" in out
    assert f"{tmp_path}/eval/best_episode.mp4" in out
    assert json.loads((tmp_path / "eval" / "results.json").read_text())["evaluations"][0]["n"] == 1


def test_a_setting_that_the_generator_does_not_read_is_named(tmp_path, caplog):
    asked = ["data=/nowhere.hdf5", f"run_dir={tmp_path}/run", "model=regression", "model.generator.siblings=16"]
    assert main(["train", *asked]) == 2
    assert "model.generator.siblings=16 has no effect: name=regression does not read it, only drifting" in caplog.text


@pytest.mark.parametrize(
    ("planner", "told"),
    [
        (["planner=random_shooting", "planner.min_std=0.4"], True),
        (["planner=predictive_sampling", "planner.min_std=0.1"], True),
        (["planner=mppi", "planner.min_std=0.1", "planner.adapt_std=false"], True),
        (["planner=mppi", "planner.min_std=0.1"], False),
        (["planner=random_shooting"], False),
    ],
)
def test_a_setting_that_the_planner_does_not_read_is_named(tmp_path, caplog, planner, told):
    assert main(["evaluate", f"checkpoint={tmp_path}/none", *planner, f"run_dir={tmp_path}/run"]) == 2
    assert ("has no effect: this planner does not read it" in caplog.text) == told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["collect", "task=carpole-swingup"], "the nearest are cartpole-swingup"),
        (["online", "episods=3"], "Did you mean episodes"),
        (["evaluate"], "checkpoint=None: expected a checkpoint"),
        (["evaluate", "checkpoint=/nowhere"], "no checkpoint at /nowhere"),
        (["train", "data=/nowhere.hdf5"], "/nowhere.hdf5"),
        (["online", "planner.horizon=7"], "planner.horizon=7: expected a multiple of the model's chunk of 5"),
        (["online", "device=abacus"], "device='abacus'"),
        (["online", "hello"], "'hello' is not a setting"),
    ],
)
def test_mistakes_exit_with_2_and_one_clear_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("drift-wm: ")
    assert captured.out == ""
    assert not [path for path in tmp_path.rglob("*") if path.is_file()], "a refused request leaves nothing"


def test_a_folder_that_cannot_be_written_exits_with_1(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["collect", *TINY, f"run_dir={tmp_path}/file"]) == 1
    assert "cannot write to the run folder" in capsys.readouterr().err


def test_a_worker_that_was_killed_is_one_clear_line(tmp_path, monkeypatch, capsys):
    def work(command, settings, folder):
        run_in_processes(os._exit, [9], workers=1, on_done=lambda job: None)

    monkeypatch.setattr(commands, "run", work)
    assert main(["online", f"run_dir={tmp_path}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "a worker process died without an error message" in line


def test_a_disk_that_fills_is_named_and_does_not_stand_in_the_way(tmp_path, monkeypatch, capsys):
    def full(command, settings, folder):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(commands, "run", full)
    asked = ["train", "data=x.hdf5", f"run_dir={tmp_path}/run"]
    assert main(asked) == 1
    err = capsys.readouterr().err
    assert "the disk is full" in err
    assert f"{tmp_path}/run" in err
    assert not (tmp_path / "run").exists(), "so that other settings are not refused there"


def test_ctrl_c_while_the_package_is_imported_is_one_line(monkeypatch, capsys):
    """Raised there, it comes out of some imports as another error."""

    def interrupted(name, *args, **kwargs):
        signal.raise_signal(signal.SIGINT)
        return SimpleNamespace(cli=SimpleNamespace(main=lambda: pytest.fail("went on")))

    monkeypatch.setattr(builtins, "__import__", interrupted)
    status = __main__.main()
    monkeypatch.undo()
    assert status == 130
    assert capsys.readouterr().err.strip() == "interrupted; nothing was written"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    def interrupted(settings, folder, **kwargs):
        (folder.path / "episodes.hdf5").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "collect", interrupted)
    assert main(["collect", *TINY, f"run_dir={tmp_path}/run"]) == 130
    assert f"run_dir={tmp_path}/run" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["drift_wm.cli.read_settings", "drift_wm.commands.collect"])
def test_ctrl_c_before_anything_is_done_leaves_nothing(tmp_path, monkeypatch, capsys, place):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupted)
    assert main(["collect", *TINY, f"run_dir={tmp_path}/run"]) == 130
    assert capsys.readouterr().err == "\ninterrupted; nothing was written\n"
    assert not (tmp_path / "run").exists(), "it would refuse the corrected request"


@pytest.mark.parametrize(
    ("command", "work"), [("data-inspect", "inspect"), ("data-convert", "convert"), ("data-replay", "replay")]
)
def test_ctrl_c_leaves_nothing_of_what_is_written_when_all_is_done(tmp_path, monkeypatch, capsys, command, work):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, work, interrupted)
    more = ["out=new.hdf5"] if work == "convert" else []
    assert main([command, "demos.hdf5", *more, f"run_dir={tmp_path}/run"]) == 130
    assert capsys.readouterr().err == "\ninterrupted; nothing was written\n"
    assert not (tmp_path / "run").exists()


def test_ctrl_c_tells_what_is_there_already_of_what_is_written_at_the_end(tmp_path, monkeypatch, capsys):
    def interrupted(settings, folder):
        (Path(settings.out) if "out" in vars(settings) else folder.path / "results.json").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "inspect", interrupted)
    monkeypatch.setattr(commands, "convert", interrupted)
    assert main(["data-inspect", "demos.hdf5", f"run_dir={tmp_path}/run"]) == 130
    assert f"what is in {tmp_path}/run may not be whole" in capsys.readouterr().err
    new = tmp_path / "new.hdf5"
    assert main(["data-convert", "demos.hdf5", f"out={new}", f"run_dir={tmp_path}/other"]) == 130
    assert f"interrupted; {new} is whole" in capsys.readouterr().err


def test_closed_streams_are_no_error(tmp_path, monkeypatch):
    """As of `drift-wm ... >&- 2>&-`."""
    monkeypatch.setattr(commands, "run", lambda command, settings, folder: None)
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["online", "--show"]) == 0
    assert main(["online", f"run_dir={tmp_path}/run"]) == 0
    assert main(["online", "planner.horizon=0"]) == 2


def test_show_prints_settings_and_does_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["online", "--show", "planner=mppi", "seed=9"]) == 0
    out = capsys.readouterr().out
    assert "seed: 9" in out
    assert "temperature: 0.15" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", cli.SUMMARIES)
def test_help_teaches(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    for example in cli.EXAMPLES[command]:
        assert example in out
    if command in ("online", "demo"):
        assert {"online": "planner.horizon=50", "demo": "planner.horizon=65"}[command] in out
        assert "actions in a sequence" in out.lower()


def help_of(words, capsys) -> str:
    with pytest.raises(SystemExit) as caught:
        main([*words, "--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_help_is_of_what_is_chosen(capsys):
    plain = help_of(["online"], capsys)
    assert "settings and defaults:" in plain
    assert "planner.temperature" not in plain
    assert "`drift-wm online planner=mppi --help` lists" in plain
    assert "model.value_discount=0.0\n" in plain
    chosen = help_of(["online", "planner=mppi", "model=drifting_value", "seed=7"], capsys)
    for text in ("  planner=mppi\n", "  planner.temperature=0.15\n", "  model=drifting_value\n", "  seed=7\n"):
        assert text in chosen
    assert "  model.value_discount=0.97\n" in chosen
    assert "planner.elites" not in chosen
    assert "settings, with those given here:" in chosen


def test_help_says_which_settings_a_planner_does_not_use(capsys):
    lines = help_of(["online", "planner=random_shooting"], capsys).splitlines()
    meaning = lines[lines.index("  planner.initial_std=0.5") + 1]
    assert meaning.strip() == "Has no effect with this planner: proposals are uniform."


def test_help_knows_what_is_required_of_a_command_and_what_is_given(capsys):
    assert "  data=FILE\n" in help_of(["train"], capsys)
    given = help_of(["train", "from=runs/first", "data=demos.hdf5"], capsys)
    assert "  data=demos.hdf5\n" in given
    assert "  parent=runs/first\n" in given
    assert "  data=demos.hdf5\n" in help_of(["data", "inspect", "demos.hdf5"], capsys)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["planner.horizn=3"], "Did you mean planner.horizon"),
        (["planner=sorcery"], "planner=sorcery: expected one of cem"),
        (["hello"], "'hello' is not a setting"),
        (["seed=-1"], "seed=-1: expected"),
    ],
)
def test_help_for_a_refused_request_says_why_and_lists_the_defaults(words, reason, capsys):
    out = help_of(["online", *words], capsys)
    assert "as what is given is refused: " in out
    assert reason in out
    assert "  planner=icem\n" in out
    assert "  seed=1\n" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["online", "--task=cheetah-run"], "--task=cheetah-run: settings are written without dashes: task=cheetah-run"),
        (["online", "--task", "cheetah-run"], "--task: settings are written without dashes: task=cheetah-run"),
        (["collect", "--random-episodes=-3"], "without dashes: random_episodes=-3"),
        (["data", "inspect", "a.hdf5", "--plotted", "2"], "without dashes: plotted=2"),
        (["online", "--video", "seed=2"], "--video: settings are written without dashes, as name=value"),
        (["online", "--video", "--task=x"], "--video: settings are written without dashes, as name=value"),
        (["doctor", "--fix=all"], "unrecognized arguments: --fix=all"),
    ],
)
def test_conventional_flags_are_answered_with_how_settings_are_written(words, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_beginnings_of_flags_are_no_settings(capsys):
    assert main(["online", "--sho"]) == 0
    assert "seed: 1" in capsys.readouterr().out


def test_every_command_has_its_work():
    assert commands._COMMANDS.keys() == COMMANDS.keys() - {"lineage"}


def test_examples_compose():
    from drift_wm.configs.schema import read_settings

    for command, examples in cli.EXAMPLES.items():
        for example in examples:
            typed = shlex.split(example, comments=True)
            start = typed.index("drift_wm") if typed[0] == "torchrun" else 0
            words = cli.join_words(typed[start + 1 :])
            assert words[0] == command
            if command != "doctor":
                read_settings(command, words[1:])


def test_no_command_or_a_wrong_one_shows_what_there_is(capsys):
    for arguments in ([], ["fly"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        assert "COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data", "insepct", "a.hdf5"], "'data insepct' is no command. Did you mean data inspect"),
        (["data", "list"], "'data list' is no command. Did you mean data inspect or data convert or data replay?"),
        (["evalute"], "'evalute' is no command. Did you mean evaluate"),
        (["dta", "inspect"], "'dta' is no command. Did you mean data"),
        (["onlin", "seed=1"], "'onlin' is no command. Did you mean online"),
        (["rollout", "checkpoint=x"], "'rollout' is no command. `drift-wm evaluate` rolls a policy out. --help lists"),
        (["fit"], "'fit' is no command. `drift-wm train` learns from a file of episodes."),
    ],
)
def test_a_misspelt_command_is_answered_with_the_nearest(words, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_doctor_reports_failure_by_its_exit_status(monkeypatch, capsys):
    from drift_wm.doctor import Finding

    for ok, status in ((True, 0), (None, 0), (False, 1)):
        monkeypatch.setattr(cli, "examine", lambda ok=ok: (Finding("thing", "value", ok, "remedy"),))
        assert main(["doctor"]) == status
        assert "thing" in capsys.readouterr().out


def test_module_and_command_are_one():
    answer = subprocess.run([sys.executable, "-m", "drift_wm", "--version"], capture_output=True, text=True, check=True)
    assert answer.stdout.startswith("drift-wm ")


def test_a_refused_request_does_not_block_the_corrected_one(tmp_path):
    assert main(["collect", "task=carpole-swingup", f"run_dir={tmp_path}/run"]) == 2
    assert main(["collect", *TINY, "episodes=1", f"run_dir={tmp_path}/run"]) == 0


@pytest.mark.parametrize(("value", "status"), [("vulkan", 2), ("osmesa", 1)])
def test_a_renderer_that_is_not_there_is_one_clear_line(tmp_path, value, status):
    environ = {**os.environ, "MUJOCO_GL": value}
    command = [sys.executable, "-m", "drift_wm", "collect", f"run_dir={tmp_path}/run"]
    if value == "osmesa" and ctypes.util.find_library("OSMesa"):
        pytest.skip("OSMesa is installed here")
    answer = subprocess.run(command, capture_output=True, text=True, env=environ)
    assert answer.returncode == status
    assert answer.stderr.startswith("drift-wm: MUJOCO_GL is ")
    assert len(answer.stderr.splitlines()) == 1


def test_every_command_that_other_programs_name_otherwise_is_one():
    from drift_wm.hints import _ELSEWHERE

    assert {command for command, _ in _ELSEWHERE.values()} <= set(cli.SUMMARIES)
    assert not set(_ELSEWHERE) & set(cli.SUMMARIES)
