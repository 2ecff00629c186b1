"""Reading the data set of a recorded run, from a database or by MLflow's client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gdexp.tracking.database import Connection
from gdexp.tracking.run_record import DatasetRecord

if TYPE_CHECKING:
    from mlflow.entities import Run

TRAINING = "training"  # the context of the data set that a run was fitted to
CONTEXT = "mlflow.data.context"

SELECT = f"""
SELECT d.name, d.digest, d.dataset_source_type, d.dataset_source, d.dataset_schema,
       d.dataset_profile, t.value
FROM inputs i
JOIN datasets d ON d.dataset_uuid = i.source_id
LEFT JOIN input_tags t ON t.input_uuid = i.input_uuid AND t.name = '{CONTEXT}'
WHERE i.destination_id = ? AND i.destination_type = 'RUN' AND i.source_type = 'DATASET'
"""


def by_sql(connection: Connection, run_id: str) -> DatasetRecord | None:
    """The data set of a run; of several, the one that it was fitted to."""
    rows = connection.query(SELECT, (run_id,))
    return _fitted_to([DatasetRecord(*row) for row in rows])


def by_client(run: Run) -> DatasetRecord | None:
    """The data set of a run; of several, the one that it was fitted to."""
    records = []
    for each in run.inputs.dataset_inputs if run.inputs else []:
        d, tags = each.dataset, {tag.key: tag.value for tag in each.tags}
        parts = d.name, d.digest, d.source_type, d.source, d.schema, d.profile
        records.append(DatasetRecord(*parts, tags.get(CONTEXT)))
    return _fitted_to(records)


def _fitted_to(records: list[DatasetRecord]) -> DatasetRecord | None:
    return min(records, key=lambda record: record.context != TRAINING, default=None)
