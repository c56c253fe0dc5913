import base64
import io
import json
import re

import numpy as np
import pytest
from rich.console import Console

from drift_wm import report as report_module
from drift_wm.report import Report, evaluation_table, training_table, write_report
from drift_wm.results import Evaluation, summarise

MODEL = Evaluation("drifting world model", (840.0, 850.0), (1, 2), 12.3, 20.1, 5)
ALONE = Evaluation("true simulator", (845.0,), (1,), 200.0, 230.0, 1, note="one episode only")


def page(tmp_path, **changes) -> str:
    (tmp_path / "plot.png").write_bytes(b"\x89PNG picture")
    (tmp_path / "film.mp4").write_bytes(b"film")
    values = {
        "title": "cartpole <swingup>",
        "summary": "It learned & balanced.",
        "evaluations": (MODEL, ALONE),
        "images": (tmp_path / "plot.png",),
        "videos": (tmp_path / "film.mp4",),
        "settings": {"seed": 1},
        "environment": {"cores": 2, "command_line": "drift-wm demo seed=1"},
        "notes": ("A note.",),
    }
    return write_report(tmp_path, Report(**{**values, **changes})).read_text()


def test_page_holds_everything_in_one_file(tmp_path):
    html = page(tmp_path)
    assert base64.b64encode(b"\x89PNG picture").decode() in html
    assert base64.b64encode(b"film").decode() in html
    assert not re.search(r'(src|href)="(?!data:)', html)
    for text in ("It learned &amp; balanced.", "845.0", "± standard error", "5.0", "drift-wm demo seed=1", "A note."):
        assert text in html
    assert "prefers-color-scheme: dark" in html
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_text_is_escaped(tmp_path):
    html = page(tmp_path, settings={"task": "<script>alert(1)</script>"})
    assert "cartpole &lt;swingup&gt;" in html
    assert "<script>" not in html


def test_a_large_film_is_linked(tmp_path, monkeypatch):
    monkeypatch.setattr(report_module, "LARGEST_EMBEDDED_VIDEO", 2)
    assert 'src="film.mp4"' in page(tmp_path)


def test_the_link_to_a_large_film_is_an_address(tmp_path, monkeypatch):
    monkeypatch.setattr(report_module, "LARGEST_EMBEDDED_VIDEO", 2)
    (tmp_path / "film #1.mp4").write_bytes(b"film")
    assert 'src="film%20%231.mp4"' in page(tmp_path, videos=(tmp_path / "film #1.mp4",))


def test_a_page_without_pictures(tmp_path):
    html = page(tmp_path, images=(), videos=(), notes=())
    assert "<img" not in html
    assert "<video" not in html


def test_terminal_table_says_what_is_needed_to_compare():
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(evaluation_table([MODEL, ALONE]))
    shown = console.export_text()
    assert "845.0" in shown
    assert "12.3 / 20.1" in shown
    assert "5 environments a decision" in shown
    assert "one episode only" in shown


def test_statistics_of_an_evaluation():
    row = summarise("x", [1.0, 3.0, 5.0], [7, 8, 9], np.arange(101.0), environments=3, note="n")
    assert row.mean == 3.0
    assert row.standard_error == pytest.approx(2 / 3**0.5)
    assert (row.decision_ms_p50, row.decision_ms_p95) == (50.0, 95.0)
    assert Evaluation.from_dict(row.as_dict()) == row
    assert ALONE.standard_error is None


def test_success_is_shown_with_wilson_s_interval_where_the_world_tells_of_it():
    row = summarise("policy", [1.0] * 40, range(40), [1.0], environments=8, successes=[True] * 17 + [False] * 23)
    # Wilson's interval by hand: centre (p + z^2 / 2n) / (1 + z^2 / n), p = 17 / 40, z = 1.959964
    n, p, z = 40, 17 / 40, 1.959964
    centre, half = p + z**2 / (2 * n), z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    expected = ((centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n))
    assert row.success_interval == pytest.approx(expected, abs=1e-5)
    values = json.loads(json.dumps(row.as_dict()))
    assert (values["success_rate"], values["success_interval"]) == (0.425, pytest.approx(expected, abs=1e-5))
    assert Evaluation.from_dict(values) == row
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(evaluation_table([row, MODEL]))
    assert "17/40 = 42% (29% to 58%)" in console.export_text()


def test_where_the_world_tells_nothing_of_success_nothing_is_shown():
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(evaluation_table([MODEL, ALONE]))
    assert "success" not in console.export_text()
    assert not [name for name in MODEL.as_dict() if "success" in name]


def test_brackets_in_names_survive_rich(capsys):
    row = Evaluation("model [fast]", (1.0,), (1,), 1.0, 1.0, 1, note="see [1]")
    Console(width=160).print(evaluation_table([row]))
    assert "model [fast]: see [1]" in capsys.readouterr().out


@pytest.mark.parametrize("width", [40, 32])
def test_a_narrow_terminal_hides_no_digit(width):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(training_table({"spread": 0.00324, "held_out_spread": 0.00285}, units="x", training=4, held_out=1))
    console.print(evaluation_table([MODEL]))
    shown = console.export_text()
    assert not re.search(r"[\d.]…", shown)
    assert re.search(r"840|845", shown)


def test_an_open_loop_error_is_not_said_to_be_of_twenty_steps_sharp():
    """With chunks of 8 it is of 24: see `held_out_metrics`."""
    console = Console(file=io.StringIO(), width=200)
    console.print(training_table({"held_out_open_loop_error": 0.5}, units="x", training=4, held_out=1))
    assert "RMSE over the first 20 steps (whole chunks)" in console.file.getvalue()
