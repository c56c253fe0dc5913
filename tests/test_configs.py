"""The door: every YAML composes to a settings object, and mistakes are explained."""

import math
import re
import shlex
from pathlib import Path

import pytest
import torch

from drift_wm import cli
from drift_wm.configs.schema import COMMANDS, describe_settings, read_settings
from drift_wm.generators.config import GENERATORS
from drift_wm.interfaces import Batch, History, Spec
from drift_wm.learning.optimisation import TrainingConfig
from drift_wm.learning.trainer import Trainer
from drift_wm.objective_settings import ObjectiveSettings, RiskSettings
from drift_wm.planners.factory import PLANNERS
from drift_wm.planners.icem import ICEMConfig
from drift_wm.planners.mppi import MPPIConfig
from drift_wm.run_settings import MachineSettings
from drift_wm.settings import (
    SCRIPTED_NOISE,
    CollectSettings,
    EvaluateSettings,
    OnlineSettings,
    PlanningSettings,
    TrainSettings,
)
from drift_wm.storage.run_folder import RunFolder

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "configs"
NEEDED = {
    "train": ["data=x.hdf5"],
    "evaluate": ["checkpoint=x"],
    "lineage": ["run=x"],
    "diagnose": ["checkpoint=x", "data=x"],
    "data-inspect": ["data=x"],
    "data-convert": ["data=x", "out=y"],
    "data-replay": ["data=x"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_composes_without_flags(command):
    assert isinstance(read_settings(command, NEEDED.get(command, [])), COMMANDS[command])


def test_every_yaml_is_reached():
    commands = {path.stem for path in CONFIGS.glob("*.yaml")}
    assert commands == set(COMMANDS)
    assert {path.stem for path in (CONFIGS / "planner").glob("*.yaml")} == set(PLANNERS)


@pytest.mark.parametrize("planner", PLANNERS)
def test_planner_group_chooses_the_class(planner):
    settings = read_settings("online", [f"planner={planner}", "planner.horizon=20"])
    assert type(settings.planner) is PLANNERS[planner]
    assert settings.planner.horizon == 20


@pytest.mark.parametrize("model", [path.stem for path in (CONFIGS / "model").glob("*.yaml")])
def test_model_group(model):
    settings = read_settings("online", [f"model={model}", "model.generator.width=8", "model.history=2"]).model
    assert settings.generator.name == model.partition("_")[0]
    trainer = Trainer(Spec(3, 2, 0.1), settings, TrainingConfig(batch_size=4), seed=0)
    steps = 2 + trainer.world_model.training_steps

    class Zeros:
        def sample(self, size, rng):
            return Batch(torch.zeros(size, steps, 3), torch.zeros(size, steps - 1, 2), torch.zeros(size, steps - 2))

    metrics = trainer.train_round(Zeros(), 1)
    assert math.isfinite(metrics["loss"])
    history = History(torch.zeros(1, 2, 3), torch.zeros(1, 1, 2))
    future = trainer.world_model.rollout(history, torch.zeros(1, 4, 10, 2), particles=3, rng=torch.Generator())
    assert future.obs.shape == (1, 4, 3, 10, 3)
    assert torch.isfinite(future.obs).all()


def test_every_generator_has_its_model_file():
    files = {path.stem for path in (CONFIGS / "model").glob("*.yaml")}
    assert set(GENERATORS) <= files
    for file in files:
        assert (CONFIGS / "model" / f"{file}.yaml").read_text().startswith("# "), f"{file} does not say what it is"


def test_overrides_reach_their_settings():
    settings = read_settings("online", ["task=cartpole-swingup", "planner=icem", "model.chunk=10", "seed=3"])
    assert (settings.task, settings.model.chunk, settings.seed) == ("cartpole-swingup", 10, 3)
    assert isinstance(settings.planner, ICEMConfig)
    mppi = read_settings("collect", ["planner=mppi", "planner.temperature=0.5", "actor=simulator"])
    assert isinstance(mppi.planner, MPPIConfig)
    assert mppi.planner.temperature == 0.5


def written_commands() -> list[str]:
    """What README and docs tell to type, in blocks and in sentences; without what stands for several commands."""
    found = []
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        prose, lines = [], []
        for i, part in enumerate(page.read_text().split("```")):
            if i % 2:
                lines += part.replace("\\\n", " ").splitlines()
            else:
                prose.append(part)
        for quoted in re.findall(r"`(drift-wm [^`]*)`", "".join(prose)):
            lines.append(" ".join(quoted.split()))
        found += [line for line in lines if re.match(r"drift-wm |torchrun .*-m drift_wm ", line)]
    return [line for line in found if not re.search(r"\.\.\.|=N\b|--help|drift-wm doctor", line)]


@pytest.mark.parametrize("line", written_commands())
def test_commands_of_the_readme_and_the_docs_compose(line):
    typed = shlex.split(line, comments=True)
    command, *overrides = cli.join_words(typed[typed.index("drift_wm" if typed[0] == "torchrun" else "drift-wm") + 1 :])
    # A command alone is the name of it, what it needs left out.
    assert isinstance(read_settings(command, overrides or NEEDED.get(command, [])), COMMANDS[command])


def test_readme_and_docs_tell_what_to_type():
    assert len(written_commands()) > 30, "the test above would otherwise hold of nothing"


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        (["planner.horizn=3"], r"horizn.*Did you mean.*planner\.horizon"),
        (["sede=3"], "sede.*Did you mean.*seed"),
        (["seed=[1"], r"cannot read seed=\[1: .*each \[ needs its \]"),
        (["seed=[a=1]"], r"cannot read seed=\[a=1\]: .*Quotes keep together what holds ="),
        (["objective.goal=[ü]"], r"cannot read objective.goal=\[ü\]: it holds a character that has no meaning"),
        (["planner=mppi", "planner.temprature=1"], r"temprature.*Did you mean planner\.temperature"),
        (["modl=drifting_value"], "modl.*Did you mean model"),
        (["model.generator.name=a,b"], r"model\.generator\.name=a,b: expected one value; a list needs brackets"),
        (["training.learning_rate=inf"], r"training\.learning_rate=inf: expected a positive number"),
        (["planner=sorcery"], "planner=sorcery: expected one of cem, icem, mppi"),
        (["model.chunk=many"], "many"),
        (["seed=-1"], "seed=-1: expected"),
        (["planner.horizon=0"], r"^planner\.horizon=0: expected an integer of at least 1$"),
        (["planner.execute=worst"], r"^planner\.execute='worst': expected one of best, mean$"),
        (["exploration_execute=worst"], r"^exploration_execute='worst': expected one of best, mean$"),
        (["env.disturbance.name=gust", "env.disturbance.strength=-1"], r"^env\.disturbance\.strength=-1\.0: expected"),
        (["planner.temperature=1"], "temperature"),
        (["planner"], "'planner' is not a setting: expected name=value"),
        (["=3"], "'=3' is not a setting"),
        (["+model._target_=os.system"], "is not a setting"),
        (["~model"], "is not a setting"),
        (["model._target_=os.system"], "_target_"),
    ],
)
def test_mistakes_are_explained(overrides, match):
    with pytest.raises(ValueError, match=match):
        read_settings("online", overrides)


@pytest.mark.parametrize(
    "path",
    [
        "Jürgen/a b",
        "x${y}.h5",
        r"a\${oc.env:HOME}",
        "a=b",
        "a,b (1)",
        "[1]{2}#",
        "it's",
        "C:\\x\\",
        "2024_01",
        "1e3",
        "007",
        "true",
        "a&b",
        ".",
    ],
)
def test_texts_are_taken_as_they_are_typed(path):
    asked = read_settings("train", [f"data={path}", f"from={path}", f"run_dir={path}", "steps=3"])
    assert (asked.data, asked.parent, asked.run_dir) == (path, path, path)
    assert read_settings("evaluate", [f"checkpoint={path}"]).checkpoint == path
    assert read_settings("data-inspect", [path]).data == path if "=" not in path else True


def test_texts_may_be_in_quotes_absent_or_below_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert read_settings("online", ["run_dir='a b'"]).run_dir == "a b"
    assert read_settings("online", ['run_dir="a=b"']).run_dir == "a=b"
    assert read_settings("online", ["run_dir=null"]).run_dir is None
    assert read_settings("online", ["run_dir=~/runs"]).run_dir == "/home/me/runs"


def test_a_run_is_planned_in_as_it_was_wherever_it_lies(tmp_path):
    folder = tmp_path / "Läufe [1], it's"
    RunFolder(folder).write_config("online", read_settings("online", ["planner=mppi", "planner.horizon=30"]))
    for actor in ([], ["actor=model"], ["actor='model'"]):
        planner = read_settings("evaluate", [f"checkpoint={folder}", *actor]).planner
        assert planner == MPPIConfig(horizon=30)


@pytest.mark.parametrize(
    ("command", "words", "meant"),
    [
        ("evaluate", ["runs/mine"], "checkpoint=runs/mine"),
        ("train", ["demos.hdf5", "steps=3"], "data=demos.hdf5"),
        ("train", ["data=demos.hdf5", "3"], "seed=3"),
        ("data-convert", ["demos.hdf5", "new.hdf5"], "out=new.hdf5"),
        ("data-convert", ["data=demos.hdf5", "new.hdf5"], "out=new.hdf5"),
    ],
)
def test_a_word_alone_may_be_meant_as_what_is_required(command, words, meant):
    with pytest.raises(ValueError, match=f"is not a setting: expected name=value, such as {meant};"):
        read_settings(command, words)


@pytest.mark.parametrize("word", ["run=1 (a).hdf5", "./run=1 (a).hdf5", "it's=1.hdf5"])
def test_a_word_with_an_equals_sign_that_is_a_file_is_one(tmp_path, monkeypatch, word):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"cannot read|is not a setting"):
        read_settings("data-inspect", [word])
    for name in (word, "mask=few"):
        Path(name).touch()
    asked = read_settings("data-inspect", [word, "mask=few"])
    assert (asked.data, asked.mask) == (word, "few"), "what a setting is called remains one"


@pytest.mark.parametrize(
    ("command", "override"),
    [
        ("evaluate", "seed=9"),
        ("evaluate", "exploration_std=0.9"),
        ("train", "task=walker-walk"),
        ("train", "env.action_repeat=7"),
    ],
)
def test_what_a_command_does_not_read_it_does_not_take(command, override):
    name = override.partition("=")[0]
    assert name not in [setting.partition("=")[0] for setting, _ in describe_settings(command)]
    with pytest.raises(ValueError, match=f"Could not override '{name}'"):
        read_settings(command, [*NEEDED[command], override])


def test_the_noise_that_collecting_adds_is_the_one_recorded():
    assert CollectSettings().exploration_std == 0
    assert CollectSettings(actor="scripted").exploration_std == SCRIPTED_NOISE
    assert CollectSettings(actor="scripted", exploration_std=0.0).exploration_std == 0
    assert CollectSettings(actor="simulator", exploration_std=0.3).exploration_std == 0.3


def test_help_lists_every_setting_with_its_meaning():
    for command in COMMANDS:
        rows = describe_settings(command)
        assert rows
        for setting, meaning in rows:
            assert meaning, f"{command}: {setting} has no docstring"
    assert ("planner.elites=10", "Best candidates that mean and standard deviation are refitted to.") in (
        describe_settings("online")
    )


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: MachineSettings(threads=-1), "threads=-1"),
        (lambda: PlanningSettings(particles=-1), "particles=-1"),
        (lambda: EvaluateSettings(actor="random", execute=2), "execute=2: expected none"),
        (lambda: EvaluateSettings(actor="random", noise=0.5), r"noise=0\.5: expected none"),
        (
            lambda: EvaluateSettings(actor="policy", checkpoint="x", foresight="y", noise=0.0),
            r"noise=0\.0: expected above 0 with foresight",
        ),
        (lambda: OnlineSettings(exploration_std=-1), "exploration_std=-1"),
        (lambda: OnlineSettings(reference_random_episodes=-1), "reference_random_episodes=-1"),
        (lambda: OnlineSettings(seed=1_000_000), "seed=1000000: expected an integer from 0 to 999999"),
        (lambda: CollectSettings(exploration_std=-1), "exploration_std=-1"),
        (lambda: CollectSettings(exploration_std=0.5), "exploration_std=0.5: expected 0 with actor=noise"),
        (lambda: ObjectiveSettings(name="glory"), "glory"),
        (lambda: ObjectiveSettings(name="goal"), r"objective\.goal"),
        (lambda: RiskSettings(name="yolo"), "yolo"),
        (lambda: RiskSettings(name="cvar", level=7.0), r"risk\.level=7\.0: expected a number in \(0, 1\]"),
        (lambda: RiskSettings(name="mean_minus_spread", level=-1), r"risk\.level=-1: expected a finite number"),
        (lambda: CollectSettings(actor="model"), "checkpoint=None.*actor=simulator"),
        (lambda: CollectSettings(actor="cat"), "actor='cat'"),
        (lambda: CollectSettings(episodes=0), "episodes=0"),
        (lambda: TrainSettings(), "data=''.*data=demos.hdf5"),
        (lambda: TrainSettings(data="x", steps=0), "steps=0"),
        (lambda: TrainSettings(data="x", held_out_fraction=1.0), "held_out_fraction"),
        (lambda: OnlineSettings(episodes=1, random_episodes=2), "episodes=1.*random_episodes=2"),
        (lambda: OnlineSettings(round_steps=0), "round_steps=0"),
        (
            lambda: OnlineSettings(exploration_execute="worst"),
            "exploration_execute='worst': expected one of best, mean",
        ),
        (lambda: OnlineSettings(evaluation_seed=-5), "evaluation_seed=-5: expected an integer from 0"),
        (
            lambda: OnlineSettings(evaluation_seed=2**32 - 5, reference_random_episodes=6),
            "evaluation_seed=4294967291: ",
        ),
        (lambda: EvaluateSettings(actor="random", evaluation_seed=-1), "evaluation_seed=-1: expected"),
        (lambda: EvaluateSettings(actor="random", evaluation_seed=2**32 - 4), "evaluation_seed=4294967292: expected"),
        (lambda: TrainingConfig(weight_decay=-1), r"training\.weight_decay=-1: expected"),
        (lambda: TrainingConfig(final_fraction=-3), r"training\.final_fraction=-3: expected"),
        (lambda: TrainingConfig(final_fraction=1.5), r"training\.final_fraction=1\.5: expected"),
        (
            lambda: ObjectiveSettings("goal", goal=[1.0], goal_weights=[1.0, 2.0]),
            r"goal_weights=\[1.0, 2.0\]: expected",
        ),
        (lambda: ObjectiveSettings("goal", goal=[1.0], goal_weights=[-1.0]), r"goal_weights=\[-1.0\]: expected"),
        (lambda: ObjectiveSettings(discount=0.0), r"objective\.discount=0\.0: expected"),
        (lambda: ObjectiveSettings(action_penalty=-1), r"objective\.action_penalty=-1: expected"),
        (lambda: ObjectiveSettings(action_rate_penalty=math.nan), r"objective\.action_rate_penalty=nan: expected"),
        (lambda: EvaluateSettings(checkpoint="x", batch=0), "batch=0"),
    ],
)
def test_wrong_values_are_refused_by_name(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_a_group_that_a_command_has_not_is_explained():
    with pytest.raises(ValueError, match=r"planner.*See --help for all settings|planner.*Did you mean planners"):
        read_settings("bench", ["planner=mppi"])


def test_help_shows_what_groups_there_are_and_defaults_as_one_would_type_them():
    online, truth = dict(describe_settings("online")), dict(describe_settings("truth"))
    assert online["planner=icem"].startswith("One of cem, icem, mppi, predictive_sampling, random_shooting; ")
    assert "drifting_value" in online["model=drifting"]
    (rivals,) = [setting for setting in truth if setting.startswith("rivals=")]
    assert "'gaussian, one network'" in rivals
    assert read_settings("truth", [rivals]) == read_settings("truth", [])
    assert not any(setting.startswith(("planner=", "model=")) for setting in truth)
