"""`gss recon`: the reconstruction ceiling of posteriors."""

from argparse import ArgumentParser, Namespace

from gss.cli.parser import add_data, add_device, add_files, add_workers
from gss.cli.runtime import parse_device, report_unreadable

HELP = "measure what the tokens of a posterior can express at best"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("posterior", nargs="+", help="folders written by `gss train posterior`")
    add_data(parser)
    add_device(parser)
    add_workers(parser)
    add_files(parser, json="the numbers")
    parser.set_defaults(more="posterior")


def run(args: Namespace) -> int:
    """Measure each posterior on the same images; return 1 when some could not be read."""
    from gss.core.distributed import device as usual_device
    from gss.core.distributed import is_main
    from gss.core.files import write_json
    from gss.data.open import open_split
    from gss.data.specs.load import load_spec
    from gss.evaluation.reconstruction import check_classes, format_table, reconstruct
    from gss.posterior.bundle import Posterior

    spec = load_spec(args.data, args.root)
    dataset = open_split(spec, args.split)
    device = parse_device(args.device) or usual_device()
    rows = []
    for folder in args.posterior:
        posterior = Posterior.from_pretrained(folder).to(device)
        check_classes(posterior, dataset, folder)
        result = reconstruct(posterior, dataset, limit=args.limit, workers=args.workers, progress=True)
        rows.append((str(folder), posterior.vqvae.token_stride, result))
    if is_main():
        if args.json:
            results = [{"posterior": name, "downsample": stride, **part.to_json()} for name, stride, part in rows]
            write_json(args.json, {"schema_version": 1, "data": spec.name, "split": args.split, "results": results})
        print(format_table(rows, dataset.label_space.names))
    return report_unreadable(image for *_, result in rows for image in result.unreadable)
