"""Evaluations: a pipeline and data in, numbers and pages out."""

from typing import TYPE_CHECKING

from gss.core.lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "gss.evaluation.outputs": ["result_tables", "write_html", "write_markdown"],
        "gss.evaluation.segmentation.evaluate": ["evaluate"],
        "gss.evaluation.shifts.evaluate": ["evaluate_shifts"],
        "gss.evaluation.cross_domain.evaluate": ["evaluate_cross_domain"],
        "gss.evaluation.cross_domain.inputs": ["Home", "TrainingDomain"],
        "gss.evaluation.cross_domain.protocol": ["Protocol"],
        "gss.evaluation.ood.evaluate": ["evaluate_ood"],
        "gss.evaluation.samples.evaluate": ["evaluate_samples"],
        "gss.evaluation.samples.protocol": ["SampleProtocol"],
    },
)

if TYPE_CHECKING:
    from gss.evaluation.cross_domain.evaluate import evaluate_cross_domain as evaluate_cross_domain
    from gss.evaluation.cross_domain.inputs import Home as Home
    from gss.evaluation.cross_domain.inputs import TrainingDomain as TrainingDomain
    from gss.evaluation.cross_domain.protocol import Protocol as Protocol
    from gss.evaluation.ood.evaluate import evaluate_ood as evaluate_ood
    from gss.evaluation.outputs import result_tables as result_tables
    from gss.evaluation.outputs import write_html as write_html
    from gss.evaluation.outputs import write_markdown as write_markdown
    from gss.evaluation.samples.evaluate import evaluate_samples as evaluate_samples
    from gss.evaluation.samples.protocol import SampleProtocol as SampleProtocol
    from gss.evaluation.segmentation.evaluate import evaluate as evaluate
    from gss.evaluation.shifts.evaluate import evaluate_shifts as evaluate_shifts
