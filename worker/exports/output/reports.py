"""Reports in the shapes that are shown."""

from dataclasses import asdict

from api_schemas.output.reports import FiguresOutput, ReportOutput
from worker.policy.figures import Line
from worker.reports.report import Report


def report_output(report: Report, price: float | None) -> ReportOutput:
    """What the work came to; ``price`` is that of a kWh."""

    def line(figures: Line) -> FiguresOutput:
        return FiguresOutput(
            **asdict(figures),
            tokens_per_second=figures.tokens_per_second,
            load_share=figures.load_share,
            idle_share=figures.idle_share,
            cost=None if price is None or figures.kwh is None else figures.kwh * price,
        )

    return ReportOutput.from_value(
        report,
        batches=sorted(report.batches),
        lines=[line(figures) for figures in report.figures.lines],
        total=line(report.figures.total),
        failures=dict(report.failures),
        hosts_without_watts=list(report.figures.unknown_power),
        batch_lines=[dict(row) for row in report.batch_lines],
        schedules=[dict(row) for row in report.schedule_lines],
    )
