"""``plot`` draws recorded runs; ``plots=true`` and notebooks draw the same pictures."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from helpers import CLI, client, last, refused, runs
from store_helpers import artifact, newest

import gdexp
from gdexp.errors import GdexpError
from gdexp.insight.pictures.of_run import of_run
from gdexp.tracking import plots

NAMES = ["loss", "descent", "parameters", "gradient"]
RUN = ("step=manual", "gradient=manual", "iters=5")


def titles(path: str) -> list[str]:
    root = ET.parse(path).getroot()
    return [str(title.text) for title in root.iter("{http://www.w3.org/2000/svg}title")]


def test_a_run_is_one_sheet_in_outputs(store: Path, cli: CLI) -> None:
    run_id = newest(store)
    path = f"outputs/plots/run-{run_id[:8]}.svg"
    assert cli("plot") == (0, f"{path}\n", "")
    assert titles(path) == ["step=manual iters=1 (completed)", "Loss", "Descent on the loss",
                            "Parameters", "Gradient"]  # fmt: skip
    before = Path(path).read_bytes()
    assert cli("plot", run_id[:6]).out == f"{path}\n"  # the same picture is the same file
    ended = cli("plot", "--only", "loss", "--only", "gradient")
    assert ended.out == f"outputs/plots/run-{run_id[:8]}-2.svg\n"
    assert titles(ended.out.strip())[1:] == ["Loss", "Gradient"]
    assert Path(path).read_bytes() == before


@pytest.mark.slow
def test_out_names_a_file_or_a_folder(store: Path, cli: CLI) -> None:
    assert cli("plot", "--only", "loss", "--out", "slide.PNG") == (0, "slide.PNG\n", "")
    assert Path("slide.PNG").read_bytes().startswith(b"\x89PNG")
    assert cli("plot", "--out", "slides/").out.split() == [f"slides/{name}.svg" for name in NAMES]
    Path("slides/loss.svg").write_text("mine")
    assert refused(cli, "plot", "--out", "slides") == (
        f"{store}/slides/loss.svg already exists. Name a new file, or add --force."
    )
    assert Path("slides/loss.svg").read_text() == "mine"
    assert cli("plot", "--out", "slides", "--force", "--only", "loss").out == "slides/loss.svg\n"
    assert Path("slides/loss.svg").read_text() != "mine"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--out", "run.pdf"], "--out: run.pdf: pictures are saved as .svg or .png. Type run.svg, "
         "or run/ for a folder with a file for each."),
        (["--out", "no/run.svg"], "--out: no/run.svg cannot be written, since the folder "
         "FOLDER/no does not exist."),
        (["--out", "file/"], "--out: file/ is a file, not a folder. Name another one."),
        (["--only", "los", "--out", "a.svg"], "there is no picture 'los' here. Did you mean loss? "
         "There are: loss, descent, parameters, gradient."),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused(
    words: list[str], sentence: str, store: Path, cli: CLI
) -> None:
    Path("file").touch()
    assert refused(cli, "plot", *words) == sentence.replace("FOLDER", str(store))


def test_a_name_that_is_too_long(store: Path, cli: CLI) -> None:
    long = "x" * 300 + ".svg"
    assert "File name too long" in refused(cli, "plot", "--only", "loss", "--out", long)


def test_another_file_is_not_overwritten(store: Path, cli: CLI) -> None:
    Path("mine.svg").write_text("mine")
    sentence = f"{store}/mine.svg already exists. Name a new file, or add --force."
    assert refused(cli, "plot", "--only", "loss", "--out", "mine.svg") == sentence


def test_without_a_trajectory_there_is_nothing_to_draw(store: Path, cli: CLI) -> None:
    first = newest(store)
    assert cli(*RUN).code == 0
    run_id = newest(store)
    artifact(store, "trajectory.parquet").unlink()
    sentence = (
        f"run {run_id} has no trajectory.parquet among its artifacts, so there is nothing to draw: "
        "it ended as completed. Run it again."
    )
    assert refused(cli, "plot", run_id) == sentence
    assert refused(cli, "plot", first, run_id) == sentence


@pytest.mark.slow
def test_several_runs_share_a_picture_of_their_losses(store: Path, cli: CLI) -> None:
    for lr in ("0.01", "0.02"):
        assert cli(*RUN, f"lr={lr}").code == 0
    ids = [run.info.run_id for run in runs(client(store))[-2:]]
    ended = cli("plot", *ids, "--out", "both.svg")
    assert (ended.code, ended.err) == (0, "")
    text = Path("both.svg").read_text()
    assert titles("both.svg") == ["2 runs", "Losses"]
    assert ">lr=0.01<" in text
    assert ">lr=0.02<" in text


def test_a_sweep(sweep: Path, tmp_path: Path, cli: CLI) -> None:
    ended = cli("plot", "last", "--out", f"{tmp_path}/map.svg")
    assert (ended.code, ended.out) == (0, f"{tmp_path}/map.svg\n")
    assert titles(f"{tmp_path}/map.svg")[0].endswith(": 4 runs")


def test_own_code_is_drawn_without_its_surface_unless_it_is_trusted(
    mine: tuple[str, ...], store: Path, cli: CLI
) -> None:
    assert cli(*mine, "iters=3").code == 0
    ended = cli("plot", "--only", "descent", "--out", "a.svg")
    assert ended.code == 0
    assert "loss names my_loss.Loss. " in ended.err
    assert (
        "Without the surface of the loss: its settings are not known" in Path("a.svg").read_text()
    )
    trusted = cli("plot", "--only", "descent", "--out", "b.svg", "--trust", "my_loss.*")
    assert (trusted.code, trusted.err) == (0, "")
    assert "Without the surface" not in Path("b.svg").read_text()


# plots=true, and notebooks


@pytest.mark.parametrize(
    "words",
    [(), pytest.param(("-m", "lr=0.01,0.02"), marks=pytest.mark.slow)],
    ids=["alone", "together"],
)
def test_plots_are_recorded_with_the_run(words: tuple[str, ...], store: Path, cli: CLI) -> None:
    assert cli(*words, *RUN, "plots=true").code == 0
    opened = client(store)
    run = [run for run in runs(opened) if run.data.params.get("plots") == "true"][-1]
    files = [file.path for file in opened.list_artifacts(run.info.run_id, "plots")]
    assert files == sorted(f"plots/{name}.svg" for name in NAMES)
    content = Path(opened.download_artifacts(run.info.run_id, "plots/loss.svg")).read_bytes()
    ET.fromstring(content)


def test_a_picture_that_fails_does_not_fail_the_run(
    store: Path, cli: CLI, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gdexp.insight.pictures import descent

    def fails(*_: object) -> None:
        raise ValueError("no ink")

    monkeypatch.setattr(descent, "picture", fails)
    ended = cli(*RUN, "plots=true")
    assert ended.code == 0
    run = last(client(store))
    assert run.info.status == "FINISHED"
    note = run.data.tags["mlflow.note.content"]
    assert note.endswith(" Not all pictures could be drawn: no ink.")
    files = [file.path for file in client(store).list_artifacts(run.info.run_id, "plots")]
    assert files == ["plots/loss.svg"]


def test_a_run_without_an_epoch_has_no_pictures() -> None:
    result = gdexp.run("tracking=off", "step=manual", "lr=1e300", "iters=3")
    result.trajectory.length = 0
    assert plots.drawn(result) == ({}, {})
    with pytest.raises(GdexpError, match=r"has no epoch, so there is nothing to draw\."):
        result.plot("run.svg")


def test_a_result_draws_itself(workdir: Path) -> None:
    result = gdexp.run("tracking=off", *RUN)
    pictures = result.plot()
    assert [picture.name for picture in pictures] == NAMES
    html = pictures._repr_html_()
    root = ET.fromstring(f"<div>{html}</div>")
    assert len(root.findall("figure")) == len(NAMES)
    assert not any(workdir.iterdir())
    result.plot("run.svg")
    assert titles("run.svg")[0] == "tracking=off step=manual gradient=manual iters=5 (completed: " \
                                   "5 epochs)"  # fmt: skip
    Path("run.svg").write_text("mine")
    with pytest.raises(GdexpError, match=r"already exists\. Name a new file, or pass replace=True"):
        result.plot("run.svg")
    result.plot("run.svg", replace=True)
    assert titles("run.svg")[1:3] == ["Loss", "Descent on the loss"]


def test_results_in_the_table_of_a_sweep_draw_themselves() -> None:
    table = gdexp.sweep("tracking=off", *RUN, lr=[0.01, 0.02])
    for result in table.result:
        assert [picture.name for picture in of_run(result)] == NAMES
        assert re.match(r"The loss goes from 30 ", next(iter(result.plot())).description)
