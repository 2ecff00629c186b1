"""``explain`` shows one epoch of a recorded run in numbers, or says why it cannot."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from helpers import CHECKOUT, CLI
from store_helpers import artifact, newest, rows, set_tag

SECOND = """\
run {run}, epoch 2 of 20: step=manual
data=tutorial, 4 rows, float32

prediction (predictor=manual): w = 1.2
  NumPy, autograd, optimizer  y_pred = w * x
  model                       y_pred = model(x.unsqueeze(1)).squeeze(1)
                              with model = torch.nn.Linear(1, 1, bias=False); w = model.weight

  row  x  y  y_pred  y_pred - y
    1  1  2     1.2        -0.8
    2  2  4     2.4        -1.6
    3  3  6     3.6        -2.4
    4  4  8     4.8        -3.2

loss (loss=manual): 4.8; in epoch 3: 0.768
  NumPy, autograd             loss = ((y_pred - y) ** 2).mean()
  optimizer                   loss = torch.nn.MSELoss()(y_pred, y)

gradient (gradient=manual_sum): dw = -48
  NumPy                       dw = (2 * x * (y_pred - y)).sum()
  autograd, optimizer         loss.backward(); dw = w.grad
  check: it is 4 times what central differences of the loss give: dw = -12

update (updater=manual): lr = 0.01
  NumPy                       w -= lr * dw
  autograd                    with torch.no_grad(): w -= lr * dw
  optimizer                   w.grad = dw; optimizer.step()
                              with optimizer = torch.optim.SGD([w], lr=0.01)

  w = 1.2 - 0.01 * -48 = 1.68
"""


def explained(cli: CLI, *words: str) -> str:
    ended = cli("explain", *words)
    assert (ended.code, ended.err) == (0, "")
    return ended.out


def refusal(cli: CLI, *words: str) -> str:
    ended = cli("explain", *words)
    assert (ended.code, ended.out) == (2, "")
    return ended.err


def test_an_epoch_in_numbers_and_nothing_is_written(store: Path, cli: CLI) -> None:
    assert cli("step=manual").code == 0
    run, before = newest(store), sorted(store.rglob("*"))
    assert explained(cli, run, "--epoch", "2") == SECOND.format(run=run)
    assert explained(cli, run[:8]).splitlines()[0] == f"run {run}, epoch 1 of 20: step=manual"
    last = explained(cli, run, "--epoch", "last", "--digits", "3")
    assert f"run {run}, epoch 20 of 20: " in last
    assert " = 2\n" in last.splitlines(keepends=True)[-1]
    assert sorted(store.rglob("*")) == before


def test_the_page_shows_what_is_printed(store: Path, cli: CLI) -> None:
    assert cli("step=autograd", "lr=0.1").code == 0
    text = (CHECKOUT / "gdexp" / "insight" / "README.md").read_text()
    (block,) = (b for b in re.findall(r"```text\n(.*?)```", text, re.S) if b.startswith("loss ("))
    assert block in explained(cli, newest(store), "--epoch", "2")


def test_several_features_have_columns_and_parameters_rows(store: Path, cli: CLI) -> None:
    words = ("data=diabetes", "data.standardize=true", "predictor.bias=true", "step=model")
    assert cli(*words, "updater=Adam", "lr=10", "data.batch_size=100", "iters=3").code == 0
    page = explained(cli, newest(store), "--epoch", "2", "--digits", "4").splitlines()
    assert page[1] == (
        "data=diabetes, 442 rows, features standardized: (x - mean) / scale, "
        "minibatch 5 of 5, 42 rows, float32"
    )
    table = page.index(next(line for line in page if line.split()[:2] == ["row", "age"]))
    assert page[table].split() == [
        *("row", "age", "sex", "bmi", "bp", "s1", "s2", "…", "y", "(progression)"),
        *("y_pred", "y_pred", "-", "y"),
    ]
    for line in page[table + 1 : table + 6]:
        y, y_pred, residual = map(float, line.split()[-3:])
        assert residual == pytest.approx(y_pred - y, abs=0.1)
    assert page[table + 6].split() == ["…", "(42", "rows)"]
    assert page[table + 7].split() == [
        *("mean", "48.52", "1.468", "26.38", "94.65", "189.1", "115.4", "…"),
    ]
    assert page[table + 8].split()[:2] == ["scale", "13.09"]
    head = next(line for line in page if line.split()[:1] == ["parameter"])
    columns = ["parameter", "before", "gradient", "derivative", "m", "v", "after"]
    assert head.split() == columns
    for line in page[page.index(head) + 1 : -1]:
        _, before, gradient, derivative, *_, after = line.split()
        assert float(gradient) == pytest.approx(float(derivative), rel=0.01, abs=0.2)
        assert abs(float(after) - float(before)) < 11
    assert [line.split()[0] for line in page[-3:]] == ["w/s6", "b", "norm"]


def test_of_a_network_there_are_the_first_numbers_and_norms(store: Path, cli: CLI) -> None:
    words = ("data=diabetes", "data.standardize=true", "step=model", "predictor=mlp", "iters=2")
    assert cli(*words).code == 0
    page = explained(cli, newest(store))
    assert "  model                       y_pred = model(x).squeeze(1)\n" in page
    assert "  autograd, optimizer         loss.backward()\n" in page
    assert "with optimizer = torch.optim.SGD(model.parameters(), lr=0.01)\n" in page
    assert page.splitlines()[-2].split() == ["…", "(193", "numbers)"]
    assert page.splitlines()[-1].split()[0] == "norm"
    assert "check:" not in page


def test_an_epoch_that_is_not_finite(store: Path, cli: CLI) -> None:
    assert cli("step=optimizer", "lr=0.3", "iters=900").code == 0
    page = explained(cli, newest(store), "--epoch", "last")
    assert f"run {newest(store)}, epoch 35, after 34 finite ones: " in page
    assert "\nloss (loss=MSELoss): inf\n" in page


def test_members_of_a_sweep(store: Path, cli: CLI) -> None:
    assert cli("-m", "step=manual,model", "lr=0.01,0.02", "iters=9").code == 0
    ids = rows(store, "SELECT run_uuid FROM tags WHERE key = 'gdexp.job'")
    assert len(ids) == 4
    for (run,) in ids:
        assert f"run {run}, epoch 9 of 9: " in explained(cli, run, "--epoch", "last")


def test_a_continued_run_has_the_epochs_from_its_checkpoint_on(store: Path, cli: CLI) -> None:
    assert cli("step=model", "updater=Adam", "checkpoint.every=5", "iters=5").code == 0
    first = newest(store)
    assert cli(f"continue_from={first}", "iters=8").code == 0
    run = newest(store)
    page = explained(cli, run)
    assert f"run {run}, epoch 6 of 8: " in page
    assert ", t = 6\n" in page
    assert refusal(cli, run, "--epoch", "5") == (
        f"gdexp: --epoch: run {run} continues another run from epoch 6 on, and did not compute "
        "epoch 5. Type --epoch 6 to --epoch 8, or explain the run that it continues.\n"
    )
    shutil.rmtree(artifact(store, "").parents[1] / first / "artifacts" / "checkpoints")
    assert f"run {run} cannot be explained: continue_from: run {first} has no checkpoint. It" in (
        refusal(cli, run)
    )


def test_what_is_no_epoch_of_the_run(store: Path, cli: CLI) -> None:
    assert cli("step=manual").code == 0
    for typed in ("0", "21", "-1", "1.5", "first one", "٣", ""):
        assert refusal(cli, newest(store), f"--epoch={typed}") == (
            f"gdexp: --epoch: {typed!r} is not an epoch of run {newest(store)} (completed). "
            "Type --epoch 1 to --epoch 20.\n"
        )


def test_what_cannot_be_explained(store: Path, cli: CLI) -> None:
    assert cli("step=manual").code == 0
    run = newest(store)
    for words in (("explain", run, "--digits", "99"), ("explain", "lr=1"), ("explain",)):
        ended = cli(*words)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("gdexp: explain: ")
    assert refusal(cli, "zzz").startswith("gdexp: there is no run 'zzz' in this store. ")
    artifact(store, "trajectory.parquet").unlink()
    assert refusal(cli, run) == (
        f"gdexp: run {run} (completed) has no trajectory.parquet among its artifacts, so there is "
        "nothing to explain. Run it again.\n"
    )
    rows(store, "UPDATE runs SET status = 'RUNNING' WHERE run_uuid = ?", run)
    assert refusal(cli, run) == f"gdexp: run {run} has not ended. Explain it when it has.\n"
    set_tag(store, "gdexp.kind", "sweep")
    assert refusal(cli, run) == (
        f"gdexp: {run!r} is the summary of a sweep, not a run. python -m "
        "gdexp compare --sweep last lists its runs.\n"
    )


def test_data_that_changed_or_are_gone(
    store: Path, cli: CLI, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = store / "table.csv"
    table.write_text("a,y\n1,2\n2,4\n3,7\n")
    assert cli("data=csv", "data.path=table.csv", "data.target=y", "gradient=manual").code == 0
    uri, run = f"sqlite:///{store}/outputs/mlflow.db", newest(store)
    (store / "elsewhere").mkdir()
    monkeypatch.chdir(store / "elsewhere")  # the path is that of the folder of the start
    assert "  row  x (a)  y  y_pred  y_pred - y\n" in explained(cli, run, "--uri", uri)
    table.write_text("a,y\n1,2\n2,4\n3,8\n")
    assert (
        explained(cli, run, "--uri", uri)
        .splitlines()[-1]
        .startswith(
            "This differs from the record, from epoch 1 on: train/loss: recorded 23.0, now 28.0"
        )
    )
    table.unlink()
    assert refusal(cli, run, "--uri", uri) == (
        f"gdexp: run {run} cannot be explained: data.path: there is no file {table}. "
        f"It was started in the folder {store}.\n"
    )
    assert list((store / "elsewhere").iterdir()) == []


def test_own_code(mine: tuple[str, ...], store: Path, cli: CLI) -> None:
    assert cli(*mine).code == 0
    run = newest(store)
    assert "loss names my_loss.Loss. " in refusal(cli, run)
    page = explained(cli, run, "--trust", "my_loss.*", "--epoch", "3")
    assert "\nloss (loss=mine): 15.6602; in epoch 4: 11.3145\n  mine       " in page
    assert "                my_loss.Loss\n" in page
    (artifact(store, "config.yaml")).write_text(
        artifact(store, "config.yaml").read_text().replace("breaks: false", "breaks: true")
    )
    assert refusal(cli, run, "--trust", "my_loss.*") == (
        f"gdexp: run {run} cannot be explained: now it does not reach the end of epoch 1: "
        "RuntimeError after epoch 0 of 1: no more.\n"
    )
