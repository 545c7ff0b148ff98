"""XML of UWS 1.1."""

from collections.abc import Sequence
from datetime import datetime
from xml.sax.saxutils import escape, quoteattr

from residua.access.dali.uploads import UPLOAD_PREFIX
from residua.access.store.jobs import Job, Phase

__all__ = ["job_document", "jobs_document", "parameters_document", "results", "utc_text"]

_NAMESPACES = (
    'xmlns:uws="http://www.ivoa.net/xml/UWS/v1.0" xmlns:xlink="http://www.w3.org/1999/xlink" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)
_XML = '<?xml version="1.0" encoding="UTF-8"?>\n'


def job_document(job: Job, url: str) -> str:
    """Describe a job."""
    error = ""
    if job.phase is Phase.ERROR:
        error = (
            '<uws:errorSummary type="fatal" hasDetail="true">'
            f"<uws:message>{escape(job.error or '')}</uws:message></uws:errorSummary>"
        )
    run_id = f"<uws:runId>{escape(job.run_id)}</uws:runId>" if job.run_id else ""
    return (
        f'{_XML}<uws:job {_NAMESPACES} version="1.1"><uws:jobId>{job.job_id}</uws:jobId>{run_id}'
        f"<uws:ownerId>{escape(job.owner)}</uws:ownerId><uws:phase>{job.phase}</uws:phase>"
        '<uws:quote xsi:nil="true"/>'
        f"<uws:creationTime>{utc_text(job.created)}</uws:creationTime>"
        f"{_optional('startTime', job.started)}{_optional('endTime', job.ended)}"
        f"<uws:executionDuration>{round(job.seconds)}</uws:executionDuration>"
        f"<uws:destruction>{utc_text(job.destruction)}</uws:destruction>"
        f"{_parameters(job)}{results(job, url)}{error}{_information(job)}</uws:job>\n"
    )


def jobs_document(jobs: Sequence[Job], url: str) -> str:
    """List jobs."""
    parts = "".join(
        f'<uws:jobref id="{job.job_id}" xlink:href={quoteattr(f"{url}/{job.job_id}")}>'
        f"<uws:phase>{job.phase}</uws:phase>"
        + (f"<uws:runId>{escape(job.run_id)}</uws:runId>" if job.run_id else "")
        + f"<uws:ownerId>{escape(job.owner)}</uws:ownerId>"
        f"<uws:creationTime>{utc_text(job.created)}</uws:creationTime></uws:jobref>"
        for job in jobs
    )
    return f'{_XML}<uws:jobs {_NAMESPACES} version="1.1">{parts}</uws:jobs>\n'


def parameters_document(job: Job) -> str:
    """List the parameters of a job."""
    return f"{_XML}{_parameters(job, _NAMESPACES)}\n"


def results(job: Job, url: str, *, root: bool = False) -> str:
    """List the results of a job, as a part or as a document."""
    inside = ""
    if job.phase is Phase.COMPLETED and job.result_file is not None:
        inside = (
            f'<uws:result id="result" xlink:href={quoteattr(f"{url}/results/result")} '
            f"mime-type={quoteattr(job.result_type or '')}/>"
        )
    if root:
        return f"{_XML}<uws:results {_NAMESPACES}>{inside}</uws:results>\n"
    return f"<uws:results>{inside}</uws:results>"


def _parameters(job: Job, attributes: str = "") -> str:
    parts = "".join(
        f'<uws:parameter id="{name}">{escape(value)}</uws:parameter>'
        for name, value in sorted(job.parameters.items())
        if not name.startswith(UPLOAD_PREFIX)
    )
    return f"<uws:parameters {attributes}>{parts}</uws:parameters>"


def _information(job: Job) -> str:
    if job.progress is None:
        return ""
    return (
        '<uws:jobInfo><progress xmlns="https://residua.org/uws">'
        f"{escape(job.progress)}</progress></uws:jobInfo>"
    )


def _optional(name: str, time: datetime | None) -> str:
    if time is None:
        return f'<uws:{name} xsi:nil="true"/>'
    return f"<uws:{name}>{utc_text(time)}</uws:{name}>"


def utc_text(time: datetime) -> str:
    """Time in ISO 8601 with milliseconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"
