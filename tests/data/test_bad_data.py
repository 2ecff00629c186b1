"""A problem of one's own that cannot be fitted is refused in a sentence, and nothing is created."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers import CLI

FILES = {
    "t.csv": "age,bmi,const,word,y,half\n1,2,3,a,2,0.5\n2,5,3,b,4,1\n4,1,3,b,8,0\n7,9,3,b,9,1\n",
    "gap.csv": "a,y\n1,2\n,3\n3,4\n",
    "none.csv": "a,y\n",
    "two.csv": "a,b,y\n1,2,0\n3,1,1\n0,5,0\n2,2,1\n",
    "kinds.csv": "a,kind,kind=red,one\n1,red,3,x\n2,green,4,x\n3,blue,5,x\n",
    "prices.csv": "a,y,zero\n1,450000,0\n2,7,0\n",
    "three.csv": "a,b,y\n1,2,0\n3,1,1\n0,5,2\n2,2,1\n",
    "mine/predictor/pair.yaml": "_target_: shapes.Pair\n",
    "mine/predictor/flat.yaml": "_target_: shapes.Flat\n",
    "mine/predictor/narrow.yaml": "_target_: shapes.Narrow\n",
    "mine/predictor/gone.yaml": "_target_: shapes.Gone\n",
    "mine/predictor/misspelt.yaml": "_target_: shapes.Misspelt\n",
    "mine/predictor/forgetful.yaml": "_target_: shapes.Forgetful\n",
    "mine/predictor/empty.yaml": "_target_: shapes.Empty\n",
    "mine/predictor/undotted.yaml": "_target_: shapes:Flat\n",
    "mine/predictor/elsewhere.yaml": "_target_: shpes.Flat\n",
    "mine/predictor/untargeted.yaml": "target: shapes.Flat\n",
    "mine/updater/still.yaml": "_target_: shapes.Still\n",
    "shapes.py": """
import numpy as np
import torch
class Pair(torch.nn.Linear):
    def __init__(self, features): super().__init__(features, 2)
class Narrow(torch.nn.Linear):
    def __init__(self): super().__init__(3, 1)
class Flat:
    def __init__(self, features): self.parameters = {"w": np.zeros(features)}
    def __call__(self, x): return x * self.parameters["w"]
class Still:
    def __call__(self, parameters, gradients): pass
class Misspelt(torch.nn.Linear):
    def __init__(self, features): super().__init__(features, 1)
    def forward(self, x): return self.liner(x)
class Forgetful(Misspelt):
    def forward(self, x): super(Misspelt, self).forward(x)
class Empty(torch.nn.Module):
    def forward(self, x): return x[:, 0]
""",
}
T = "data=csv data.path=t.csv data.target=y "
KINDS = "data=csv data.path=kinds.csv data.target="
PRICES = "data=csv data.path=prices.csv data.target="
ONE = "data.target: column 'one' holds only 'x', and there is nothing to predict. Name another."
CLASSES = (
    "data.standardize_target: loss=BCEWithLogitsLoss predicts classes, which have no scale. Type "
    "data.standardize_target=false, or loss=MSELoss to predict numbers."
)
CONSTANT = (
    "data.standardize_target: column 'zero' is 0 in every row, so it cannot be standardized. Type "
    "data.standardize_target=false."
)
TWO, THREE = (f"data=csv data.path={n}.csv data.target=y " for n in ("two", "three"))
SHORT = "so fewer rows cannot replace the table. Type data.compress=false."
DERIVED = "the formula is derived for the mean squared error of a linear predictor, not for "
REFUSED = {
    "data=csv": "data.path: name the file to read, as in data.path=table.csv.",
    "data=csv data.path=T.csv data.target=y": "data.path: there is no file {here}/T.csv. "
    "Did you mean data.path=t.csv?",
    "data=csv data.path=t.csv": "data.target: name the column to predict, as in data.target=half. "
    "It has: age, bmi, const, word, y, half.",
    "data=csv data.path=t.csv data.target=Y": "data.target: the file has no column 'Y'. "
    "It has: age, bmi, const, word, y, half. Did you mean y?",
    T + "data.features=[agee]": "data.features: the file has no column 'agee'. It has: age, bmi, "
    "const, word, y, half. Did you mean age?",
    T.replace("=y", "=word"): "data.target: column 'word' holds text ('a', 'b'), and loss=manual "
    "predicts numbers. Type step=model loss=BCEWithLogitsLoss to predict its classes, or name "
    "another.",
    KINDS
    + "kind step=model": "data.target: column 'kind' holds text ('blue', 'green', 'red'), and "
    "loss=MSELoss predicts numbers. Type step=model loss=CrossEntropyLoss to predict its classes, "
    "or name another.",
    KINDS + "kind step=model loss=BCEWithLogitsLoss": "data.target: column 'kind' holds 3 classes "
    "('blue', 'green', 'red'), and loss=BCEWithLogitsLoss predicts two. Type "
    "loss=CrossEntropyLoss.",
    KINDS + "one data.features=[a] step=model loss=BCEWithLogitsLoss": ONE,
    KINDS + "one data.features=[a] step=model loss=MSELoss": ONE,
    KINDS + "a": "data.features: 'kind=red' is the name of a column and of a category. Rename the "
    "column.",
    "data=csv data.path=gap.csv data.target=y": "data.path: gap.csv, line 3, column 'a': '' is "
    "empty. Fill it in, or type data.missing=drop to leave such rows out.",
    "data=csv data.path=none.csv data.target=y": "data.path: {here}/none.csv has no rows to fit.",
    T + "data.features=[age,const] data.standardize=true": "data.features: column 'const' is 3 in "
    "every row, so it cannot be standardized. Leave it out of data.features, or type "
    "data.standardize=false.",
    "data=csv data.path=t.csv data.target=y data.features=[age] step=model "
    "loss=BCEWithLogitsLoss data.validation=0.5": "loss=BCEWithLogitsLoss: the target 2 in row 1 "
    "is not from 0 to 1. Encode the classes as whole numbers, or type loss=MSELoss.",
    "data=csv data.path=t.csv data.target=half data.features=[age] step=model "
    "loss=CrossEntropyLoss": "loss=CrossEntropyLoss: the target 0.5 in row 1 is not a class, 0, 1, "
    "2, …. Encode the classes as whole numbers, or type loss=MSELoss.",
    THREE + "loss=manual_logistic gradient=manual_logistic": "loss=manual_logistic: the target 2 "
    "in row 3 is not from 0 to 1. Encode the classes as whole numbers, or type loss=MSELoss.",
    PRICES + "zero step=model loss=CrossEntropyLoss": "loss=CrossEntropyLoss: the only class is 0. "
    "It needs two or more.",
    PRICES + "y step=model loss=CrossEntropyLoss": "loss=CrossEntropyLoss: the target 450000 would "
    "make 450001 classes of 2 rows. Encode the classes as whole numbers, or type loss=MSELoss.",
    PRICES + "zero step=model loss=CrossEntropyLoss loss.ignore_index=0": "loss.ignore_index: the "
    "target is 0 in every row, so all rows are ignored.",
    PRICES + "zero data.standardize_target=true": CONSTANT,
    PRICES + "zero gradient=manual data.standardize_target=true data.compress=true": CONSTANT,
    TWO + "step=model loss=BCEWithLogitsLoss data.standardize_target=true": CLASSES,
    THREE + "step=optimizer loss=CrossEntropyLoss": "predictor=manual: inputs of shape (2, 2) give "
    "predictions of shape (2,), and loss=CrossEntropyLoss needs (2, 3).",
    TWO + "loss=manual_logistic": f"gradient=manual_sum: {DERIVED}loss=manual_logistic. "
    "Type gradient=manual_logistic.",
    TWO + "step=model loss=BCEWithLogitsLoss gradient=manual": f"gradient=manual: {DERIVED}"
    "loss=BCEWithLogitsLoss. Type gradient=manual_logistic.",
    TWO + "gradient=manual_logistic": "gradient=manual_logistic: the formula is derived for the "
    "cross-entropy of the logits of a linear predictor, not for loss=manual. Type gradient=manual.",
    TWO + "step=optimizer gradient=manual loss=L1Loss": f"gradient=manual: {DERIVED}loss=L1Loss. "
    "Type gradient=autograd.",
    TWO + "step=model predictor=mlp gradient=manual": f"gradient=manual: {DERIVED}predictor=mlp. "
    "Type gradient=autograd.",
    TWO + "step=model predictor=mlp predictor.sizes=8": "predictor.sizes: 8 is not a list of "
    "widths. Type predictor.sizes=[16,16].",
    TWO + "step=model predictor=mlp predictor.sizes=[0]": "predictor.sizes: 0 is not a whole "
    "number >= 1. Type predictor.sizes=[16,16].",
    TWO + "step=model predictor=mlp predictor.activation=Tahn": "predictor.activation: torch.nn "
    "has no activation 'Tahn'. Did you mean predictor.activation=Tanh?",
    TWO + "stop.tolerance=-1": "stop.tolerance: -1.0 is not null or a finite number > 0.",
    TWO + "stop.watch=grad": "stop.watch: 'grad' is not one of loss, gradient. Did you mean "
    "stop.watch=gradient?",
    TWO + "stop.patience=3": "stop.patience: it watches the validation loss, and no rows are held "
    "out for it. Type for example data.validation=0.2.",
    TWO + "data.validation=1": "data.validation: 1 is not a finite number from 0 to below 1. "
    "Type for example data.validation=0.0.",
    TWO + "data.validation=0.1": "data.validation: 0.1 of 4 rows would hold 0 back and leave 4 to "
    "train on; each part needs one. Type a share from 0.25 to 0.75, or 0.",
    "data=diabetes data.validation=1e-4": "data.validation: 0.0001 of 442 rows would hold 0 back "
    "and leave 442 to train on; each part needs one. Type a share from 0.0023 to 0.9977, or 0.",
    TWO + "data.standardise=true": "data.standardise: data=csv has no setting 'standardise'. It "
    "has: standardize, standardize_target, validation, batch_size, compress, metrics, path, "
    "target, features, drop, separator, decimal, thousands, encoding, comment, header, missing, "
    "name. Did you mean data.standardize?",
    TWO + "data.standardize=yes": "data.standardize: 'yes' is not true or false. Did you mean "
    "data.standardize=true?",
    TWO + "data.batch_size=5": "data.batch_size: 5 is more than the 4 rows to train on. Type "
    "data.batch_size=4 or less, or null for all rows at once.",
    TWO + "data.batch_size=1.5": "data.batch_size: 1.5 is not null or a whole number >= 1.",
    TWO + "checkpoint.every=0": "checkpoint.every: 0 is not null or a whole number >= 1.",
    TWO + "data.compress=true": "data.compress: gradient=manual_sum is a sum over all rows, "
    "so fewer rows cannot replace the table. Type gradient=manual.",
    TWO + "step=model predictor=mlp data.compress=true": "data.compress: predictor=mlp is not "
    f"linear, {SHORT}",
    TWO + "step=model loss=L1Loss data.compress=true": "data.compress: loss=L1Loss is not the mean "
    f"of squared errors, {SHORT}",
    TWO + "step=model loss.reduction=sum data.compress=true": "data.compress: loss=MSELoss is not "
    f"the mean of squared errors, {SHORT}",
    TWO + "step=model data.batch_size=2 data.compress=true": "data.compress: data.batch_size needs "
    f"single rows, {SHORT}",
    TWO + "step=model data.validation=0.5 data.compress=true": "data.compress: data.validation "
    f"needs single rows, {SHORT}",
    "--config-dir=mine step=model predictor=pair " + TWO: "predictor=pair: inputs of shape (2, 2) "
    "give predictions of shape (2, 2), and loss=MSELoss needs (2,).",
    "--config-dir=mine step=autograd predictor=flat " + TWO: "predictor=flat: inputs of shape "
    "(2, 2) give predictions of shape (2, 2), and loss=manual needs (2,).",
    "--config-dir=mine step=model predictor=narrow " + TWO: "predictor: mat1 and mat2 shapes "
    "cannot be multiplied (2x2 and 3x1)",
    "--config-dir=mine step=model predictor=misspelt " + TWO: "predictor: 'Misspelt' object has no "
    "attribute 'liner' (shapes.py, line 15)",
    "--config-dir=mine step=model predictor=forgetful "
    + TWO: "predictor: its forward returns None, and predictions are a tensor",
    "--config-dir=mine step=model predictor=empty "
    + TWO: "predictor=empty: it has no parameters to fit.",
    "--config-dir=mine step=model predictor=undotted "
    + TWO: "predictor: shapes:Flat names no class "
    "in a module. Type both with a dot between them, as in mymodule.MyClass.",
    "--config-dir=mine step=model predictor=elsewhere " + TWO: "predictor: shpes.Flat cannot be "
    "imported: No module named 'shpes'. Did you mean shapes?",
    "--config-dir=mine step=model predictor=untargeted "
    + TWO: "predictor=untargeted: its YAML file "
    "has no _target_. Name the class to build, as in _target_: mymodule.MyClass.",
    "--config-dir=mine step=model predictor=gone " + TWO: "predictor: shapes.Gone cannot be "
    "imported: module 'shapes' has no attribute 'Gone'.",
    "--config-dir=mine updater=still scheduler=StepLR " + TWO: "scheduler: Still has no lr that a "
    "schedule could change. Type scheduler=none.",
    TWO + "step=model updater=Rprop scheduler=OneCycleLR": "scheduler.cycle_momentum: the "
    "updater has no momentum to cycle. Type scheduler.cycle_momentum=false.",
}


@pytest.fixture
def files(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (workdir / name).parent.mkdir(parents=True, exist_ok=True)
        (workdir / name).write_text(text)
    monkeypatch.syspath_prepend(str(workdir))
    monkeypatch.delitem(sys.modules, "shapes", raising=False)
    return workdir


@pytest.mark.parametrize(("typed", "sentence"), REFUSED.items(), ids=list(REFUSED))
def test_a_problem_that_cannot_be_fitted(typed: str, sentence: str, files: Path, cli: CLI) -> None:
    ended = cli(*typed.split())
    assert ended.err == f"gdexp: {sentence.format(here=files)}\n"
    assert (ended.code, ended.out) == (2, "")
    assert not Path("outputs").exists()


def test_refusing_a_table_for_a_fit_by_hand_imports_no_torch(files: Path) -> None:
    program = (
        "import sys; from gdexp import run\n"
        "try: run('data=csv', 'data.path=two.csv', 'data.target=y', 'gradient=manual_logistic')\n"
        "except ValueError as error: print(error)\n"
        "sys.exit('torch' in sys.modules or 'mlflow' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, "Type gradient=manual." in done.stdout) == (0, True)
